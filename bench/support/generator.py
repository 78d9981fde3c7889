"""A load generator in a process of its own, driven from here."""

import json
import select
import subprocess
import sys
from types import TracebackType
from typing import Self

from bench.support.relay import Relay


class Failed(Exception):
    """The relay did something else than it must; the text says what."""


class Generator:
    """Drives one relay; see :mod:`bench.load.worker` for what it can be asked.

    Args:
        ca_file: what verifies the relay's certificate; empty: plain TCP.
        backend: the port where a byte pipe expects its far end; 0 for a relay.
    """

    def __init__(self, relay: Relay, ca_file: str = "", backend: int = 0) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "bench.load.worker"),
                *("--port", str(relay.port), "--pid", str(relay.pid)),
                *("--ca-file", ca_file, "--backend", str(backend)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.__exit__(kind, error, _)

    def begin(self, do: str, **arguments: float | str) -> None:
        """Ask for something without waiting for it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        except BrokenPipeError:
            raise Failed("the load generator has ended") from None

    def ready(self, seconds: float) -> bool:
        """Whether a result is there, or comes within so many seconds."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def result(self) -> dict[str, float]:
        """What came of what was begun first.

        Raises:
            Failed: a reply was wrong, or one did not come.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, float] = json.loads(line) if line else {}
        if "error" in found or not found:
            raise Failed(str(found.get("error", "the load generator has ended")))
        return found

    def run(self, do: str, **arguments: float | str) -> dict[str, float]:
        """Ask, and wait for what comes of it.

        Raises:
            Failed: a reply was wrong, or one did not come.
        """
        self.begin(do, **arguments)
        return self.result()
