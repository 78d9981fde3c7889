"""A machine within this one: its own network, its own ``/etc`` and ``/run``, gone when it ends.

So a test can start servers from shipped configuration files exactly as they are: port 443, paths
under ``/etc``, the name ``relay.example.org``.
"""

import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from tests.support.programs import skip_unless_ci

ADDRESS = "198.51.100.77"
"""The machine's own address, other than loopback (RFC 5737: never routed)."""

NOBODY = 65532
"""A user that owns nothing."""

_CHECKOUT = Path(__file__).parents[2]
_ENTER = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_SET_UP = """\
set -eu
mount --bind "$ETC" /etc
mount -t tmpfs tmpfs /run
ip link set lo up
ip addr add {address}/32 dev lo
"""


def run_sealed(
    directory: Path, files: dict[str, Path], script: str, within: float = 30.0
) -> "subprocess.CompletedProcess[str]":
    """Run a shell ``script`` in a machine of its own.

    ``within``: seconds. ``files``: what lies where under ``/etc``. ``relay.example.org`` is the
    machine itself. Skips the test where the system does not let us make such a machine; fails it
    in CI.
    """
    possible = os.geteuid() == 0 and subprocess.run([*_ENTER, "true"], check=False).returncode == 0
    if not possible:
        skip_unless_ci("needs root, and the right to unshare namespaces")
    etc = directory / "etc"
    shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} relay.example.org\n")
    for place, file in files.items():
        target = etc / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return subprocess.run(
        [*_ENTER, "sh", "-c", _SET_UP.format(address=ADDRESS) + script],
        env=os.environ | {"ETC": str(etc)},
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )


def open_to_all() -> str:
    """Shell commands, for a sealed machine, that let every user run this Python with this project.

    Both may lie below somebody's home directory, which is closed to others.
    """
    places = [str(place) for place in (sys.base_prefix, sys.prefix, _CHECKOUT)]
    closed = sorted({f"/{Path(place).parts[1]}" for place in places if _closed(Path(place))})
    inside = [place for place in places if any(Path(place).is_relative_to(top) for top in closed)]
    keep = [
        f"mkdir -p /run/kept/{i}\nmount --bind {shlex.quote(place)} /run/kept/{i}"
        for i, place in enumerate(inside)
    ]
    hide = [f"mount -t tmpfs -o mode=755 tmpfs {top}" for top in closed]
    show = [
        f"mkdir -p {shlex.quote(place)}\nmount --move /run/kept/{i} {shlex.quote(place)}"
        for i, place in enumerate(inside)
    ]
    return "\n".join((*keep, *hide, *show, ""))


def _closed(place: Path) -> bool:
    return any(not above.stat().st_mode & stat.S_IXOTH for above in place.parents)
