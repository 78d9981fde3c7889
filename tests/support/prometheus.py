"""A real Prometheus server for a test, or the test says that there is none."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from bench.support.prometheus import Prometheus
from bench.support.prometheus import prometheus as start
from tests.support.programs import needs


def prometheus(
    directory: Path, *ports: int, rules: Path | None = None
) -> AbstractAsyncContextManager[Prometheus]:
    """A server that scrapes these ports of this machine, as job ``fastrelay``, at 5 Hz."""
    needs("prometheus", "prometheus")
    return start(directory, {f"127.0.0.1:{port}": port for port in ports}, rules=rules)
