"""What is measured: our relay, others, and floors; how each is started."""

import contextlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.support.relay import Relay, free_port, running

PEERS = Path(__file__).parents[1] / "peers"
_PYTHON = shlex.quote(sys.executable)
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


class Running(NamedTuple):
    """A contender that listens. ``backend``: where a floor expects its far end; 0 for a relay."""

    relay: Relay
    backend: int


class Workshop:
    """Makes what contenders need, in a directory of its own.

    Attributes:
        ca_file: what verifies the certificate of those that serve TLS.
        absent: contenders that cannot be had here, and why.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.absent: dict[str, str] = {}
        self._go = directory / "go-relay"
        if shutil.which("go") is None:
            self.absent["go"] = self.absent["go tls"] = "Go is not installed"
        else:
            command = ("go", "build", "-o", str(self._go), ".")
            subprocess.run(command, cwd=PEERS / "go", check=True, capture_output=True)
        self._haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        if self._haproxy is None:
            self.absent["haproxy"] = "HAProxy is not installed"
        self._certificate, self._key = directory / "cert.pem", directory / "key.pem"
        self.ca_file = self._make_certificate()

    def _make_certificate(self) -> str:
        """An ECDSA P-256 certificate for 127.0.0.1."""
        command = (
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=bench",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ),
            *("-keyout", str(self._key), "-out", str(self._certificate)),
        )
        subprocess.run(command, check=True, capture_output=True)
        return str(self._certificate)

    @contextlib.contextmanager
    def start(self, name: str, log: Path | None = None) -> Iterator[Running]:
        """Start a contender by name; nothing of it is left afterwards.

        Raises:
            KeyError: there is none of that name.
        """
        backend = free_port() if name in {"haproxy", "pipe"} else 0
        with running(self._command(name, backend), log or self._directory / f"{name}.log") as relay:
            yield Running(relay, backend)

    def _command(self, name: str, backend: int) -> str:
        ours = f"{_PYTHON} -m fastrelay --metrics-listen 127.0.0.1:{{metrics}} --upgrade-burst 0"
        ours += " --max-connections 16000"
        pair = f"{self._certificate} {self._key}"
        return {
            "fastrelay": f"{ours} --insecure-listen 127.0.0.1:{{port}}",
            "fastrelay tls": f"{ours} --https-listen 127.0.0.1:{{port}}"
            f" --tls-cert {self._certificate} --tls-key {self._key}",
            "go": f"{self._go} {{port}}",
            "go tls": f"{self._go} {{port}} {pair}",
            "websockets": f"{_PYTHON} {PEERS / 'websockets_relay.py'} {{port}}",
            "aiohttp": f"{_PYTHON} {PEERS / 'aiohttp_relay.py'} {{port}}",
            "picows": f"{_PYTHON} {PEERS / 'picows_relay.py'} {{port}}",
            "pipe": f"{_PYTHON} {PEERS / 'pipe.py'} {{port}} {backend}",
            "haproxy": self._haproxy_command(backend) if name == "haproxy" else "",
        }[name]

    def _haproxy_command(self, backend: int) -> str:
        """Its port comes through the environment, as the configuration is written before."""
        config = self._directory / "haproxy.cfg"
        config.write_text(_HAPROXY.format(backend=backend))
        return f"env PORT={{port}} {self._haproxy} -db -f {config}"


@contextlib.contextmanager
def workshop() -> Iterator[Workshop]:
    """A workshop that is cleared away at the end."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        yield Workshop(Path(directory))
