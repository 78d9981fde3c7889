"""The shipped Containerfile, read; and its steps in a bare root, where no container engine runs.

``python -m tests.support.containerfile`` builds as the first stage says, with the packages that the
lock names, and runs what comes out as the second one says: its user, no capability, a root that
cannot be written to, no shell between, the health check, the probe. In place of the base image
stands this machine's system; that it works on the real one is not shown. Needs root.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

CONTAINERFILE = Path(__file__).parents[2] / "docs" / "deploy" / "Containerfile"
_CHECKOUT = CONTAINERFILE.parents[2]
_SYSTEM = ("bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr")
_PYTHON = "/image"
"""Where ``python`` is found, as in the base image."""

Stage = list[tuple[str, str]]


def stages() -> list[Stage]:
    """Instructions with their arguments, stage by stage."""
    lines = [line for line in CONTAINERFILE.read_text().splitlines() if not line.startswith("#")]
    found: list[Stage] = []
    for line in filter(None, re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()):
        instruction, _, arguments = line.partition(" ")
        if instruction == "FROM":
            found.append([])
        elif not found:
            continue  # the ARG that names the base image
        found[-1].append((instruction, arguments.strip()))
    return found


def one(stage: Stage, instruction: str) -> str:
    """The arguments of an instruction that a stage has once."""
    (arguments,) = [given for name, given in stage if name == instruction]
    return arguments


def health_check(stage: Stage) -> list[str]:
    """The command that says whether the container is well."""
    command: list[str] = json.loads(one(stage, "HEALTHCHECK").partition("CMD ")[2])
    return command


def _bare_root(root: str) -> str:
    """Shell commands: a root with this machine's system in it, and nothing else."""
    commands = [f"mkdir -p {root}{_PYTHON} {root}/src {root}/tmp", f"mount --bind {root} {root}"]
    for name in _SYSTEM:
        place = Path("/", name)
        if place.is_symlink():
            commands.append(f"ln -sfn {place.readlink()} {root}/{name}")
        elif place.exists():
            commands.append(f"mkdir -p {root}/{name}\nmount --rbind /{name} {root}/{name}")
    base = shlex.quote(sys.base_prefix)
    if not Path(sys.base_prefix).is_relative_to("/usr"):
        commands.append(f"mkdir -p {root}{base}\nmount --bind {base} {root}{base}")
    executable = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    commands.append(f"ln -sfn {executable} {root}{_PYTHON}/python")
    return "\n".join(("set -eu", *commands, ""))


def _taken(stage: Stage, root: str) -> str:
    """Shell commands that take a stage's steps."""
    commands = []
    for instruction, arguments in stage:
        if instruction == "COPY" and not arguments.startswith("--from"):
            *sources, target = arguments.split()
            for source in sources:
                commands.append(f"cp -r {shlex.quote(str(_CHECKOUT / source))} {root}{target}")
        elif instruction == "RUN":
            path = f"PATH={_PYTHON}:/usr/bin:/bin"
            commands.append(
                f"/usr/sbin/chroot {root} /usr/bin/env {path} /bin/sh -euc {shlex.quote(arguments)}"
            )
    return "\n".join((*commands, ""))


_RUNNING = """\
ip link set lo up
mount -o remount,bind,ro {root}
as="/usr/sbin/chroot {root} /usr/bin/setpriv --reuid {uid} --regid {gid} --clear-groups \\
    --no-new-privs --bounding-set=-all --inh-caps=-all /usr/bin/env -i {environment}"
$as {command} 2>{root}.log &
relay=$!
trap 'cat {root}.log' EXIT
until grep -q msg=starting {root}.log; do kill -0 $relay; sleep 0.1; done
$as {health}
$as {program} probe ws://127.0.0.1:8080
if $as {python} -c 'open("/opt/fastrelay/x", "w")' 2>/dev/null; then exit 9; fi
if $as {python} -c 'open("/tmp/x", "w")' 2>/dev/null; then exit 9; fi
kill $relay
wait $relay
if $as {health} 2>/dev/null; then echo "the health check never fails"; exit 9; fi
trap - EXIT
echo "the container's steps work"
"""


def main() -> int:
    """Build and run; returns the exit code of the first step that fails."""
    building, running = stages()
    with tempfile.TemporaryDirectory(prefix="container-") as work:
        root = f"{work}/root"
        Path(work).chmod(0o755)
        script = _bare_root(root) + _taken(building, root)
        code = _run(script)
        if code:
            return code
        uid, _, gid = one(running, "USER").partition(":")
        entry = json.loads(one(running, "ENTRYPOINT"))
        script = _bare_root(root) + _taken(running, root)
        script += _RUNNING.format(
            root=root,
            uid=uid,
            gid=gid,
            environment=one(running, "ENV"),
            command=shlex.join([*entry, *json.loads(one(running, "CMD"))]),
            health=shlex.join(health_check(running)),
            program=entry[0],
            python="/opt/fastrelay/bin/python",
        )
        return _run(script, "--net")


def _run(script: str, *apart: str) -> int:
    # Mounts go with their namespace; nothing of it is seen outside.
    environment = os.environ | {"PIP_ROOT_USER_ACTION": "ignore"}
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *apart, "sh", "-c", script]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
