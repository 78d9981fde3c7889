"""What is measured: our relay, others, and floors; how each is started."""

import contextlib
import importlib.util
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.support.certificate import make_certificate
from bench.support.generator import Generator
from bench.support.ports import free_port
from bench.support.relay import Relay, running

PEERS: Final = Path(__file__).parents[1] / "peers"
FLOORS: Final = ("haproxy", "pipe")
EXTERNAL: Final = "external"
"""What the relay of ``--relay`` is called."""

NAMES: Final = (
    *("fastrelay", "fastrelay tls", "go", "go tls", "websockets", "aiohttp", "picows"),
    *FLOORS,
)
_PACKAGES: Final = ("websockets", "aiohttp", "picows")
_CONNECTIONS = 16_000
_PYTHON = shlex.quote(sys.executable)
_FLAGS = (
    f"--metrics-listen 127.0.0.1:{{metrics}} --upgrade-burst 0 --max-connections {_CONNECTIONS}"
)
_HAPROXY = """\
global
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen pipe
    bind "127.0.0.1:${{PORT}}"
    server far 127.0.0.1:{backend}
"""


class Contender:
    """One that listens, and the load generator that drives it."""

    def __init__(self, relay: Relay, generator: Generator) -> None:
        self.relay = relay
        self.generator = generator


class Workshop:
    """Makes what contenders need, each thing when it is first wanted.

    Args:
        directory: where it is put.
        external: the command of a relay that is none of ours; ``{port}`` stands for its port.
    """

    def __init__(self, directory: Path, external: str = "") -> None:
        self.directory = directory
        self._external = external
        self._absent: dict[str, str] = {}
        self._haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")

    def why_absent(self, name: str) -> str:
        """Why there is no such contender here; empty if there is one."""
        if name not in self._absent:
            self._absent[name] = self._look_for(name)
        return self._absent[name]

    def _look_for(self, name: str) -> str:
        if name == EXTERNAL and not self._external:
            return "no --relay was given"
        if name == "haproxy" and self._haproxy is None:
            return "HAProxy is not installed"
        if name in _PACKAGES and importlib.util.find_spec(name) is None:
            return f"the package {name} is not installed: pip install '.[bench]'"
        if name.startswith("go"):
            return self._build_go()
        return ""

    def _build_go(self) -> str:
        if shutil.which("go") is None:
            return "Go is not installed"
        command = ("go", "build", "-o", str(self.directory / "go-relay"), ".")
        built = subprocess.run(
            command, cwd=PEERS / "go", capture_output=True, text=True, check=False
        )
        return "" if built.returncode == 0 else f"it does not build: {built.stderr.strip()}"

    @property
    def ca_file(self) -> str:
        """What verifies the certificate of those that serve TLS: ECDSA P-256, for 127.0.0.1."""
        return str(make_certificate(self.directory).chain)

    @contextlib.contextmanager
    def start(
        self, name: str, flags: str = "", module: str = "fastrelay", before: str = ""
    ) -> Iterator[Contender]:
        """Start a contender and its load generator; nothing of them is left afterwards.

        Args:
            flags, module: of ours: more flags, and what is run instead.
            before: what is put before the command, such as ``env NAME=VALUE``.

        Raises:
            KeyError: there is none of that name.
            RuntimeError: it does not begin to listen; its last words are shown.
        """
        backend = free_port() if name in FLOORS else 0
        ca_file = self.ca_file if name.endswith(" tls") else ""
        command = f"{before} {self._command(name, backend, flags, module)}"
        log = self.directory / f"{name}.log"
        with (
            running(command, log) as relay,
            Generator(relay, ca_file, backend) as generator,
        ):
            yield Contender(relay, generator)

    def _command(self, name: str, backend: int, flags: str, module: str) -> str:
        ours = f"{_PYTHON} -m {module} {_FLAGS} {flags}"
        certificate = make_certificate(self.directory) if name.endswith(" tls") else None
        chain, key = certificate or ("", "")
        go = self.directory / "go-relay"
        return {
            "fastrelay": f"{ours} --insecure-listen 127.0.0.1:{{port}}",
            "fastrelay tls": f"{ours} --https-listen 127.0.0.1:{{port}}"
            f" --tls-cert {chain} --tls-key {key}",
            "go": f"{go} {{port}}",
            "go tls": f"{go} {{port}} {chain} {key}",
            "websockets": f"{_PYTHON} {PEERS / 'websockets_relay.py'} {{port}}",
            "aiohttp": f"{_PYTHON} {PEERS / 'aiohttp_relay.py'} {{port}}",
            "picows": f"{_PYTHON} {PEERS / 'picows_relay.py'} {{port}}",
            "pipe": f"{_PYTHON} {PEERS / 'pipe.py'} {{port}} {backend}",
            "haproxy": self._haproxy_command(backend) if name == "haproxy" else "",
            EXTERNAL: self._external,
        }[name]

    def _haproxy_command(self, backend: int) -> str:
        """Its port comes through the environment, as the configuration is written before."""
        config = self.directory / "haproxy.cfg"
        config.write_text(_HAPROXY.format(backend=backend))
        return f"env PORT={{port}} {self._haproxy} -db -f {config}"


def importing_from(*directories: Path) -> str:
    """What stands before a command so that it imports from these directories, in their order.

    It does not import from the working directory.
    """
    path = ":".join(map(str, directories))
    return f"env PYTHONSAFEPATH=1 PYTHONPATH={shlex.quote(path)}"


@contextlib.contextmanager
def workshop(external: str = "") -> Iterator[Workshop]:
    """A workshop that is cleared away at the end."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        yield Workshop(Path(directory), external)
