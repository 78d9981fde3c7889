"""A relay with an instrument inside: ``python -m bench.profile.host INSTRUMENT PIPE FLAGS``.

The relay runs in the main thread as always. ``PIPE`` names a socket on which the
profiler listens; a thread here answers each line that comes from there with a line of JSON.
"""

import importlib
import json
import socket
import sys
import threading
from typing import Any, Protocol

from fastrelay.cli import main as relay


class Instrument(Protocol):
    """What looks at a relay from inside."""

    def start(self) -> None:
        """Before the relay's first line runs."""

    def answer(self, question: str) -> Any:
        """What to tell, as JSON. Called in a thread of its own, while the relay is idle."""


def _answer(instrument: Instrument, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as pipe:
        pipe.connect(path)
        with pipe.makefile("rw") as lines:
            for line in lines:
                lines.write(json.dumps(instrument.answer(line.strip())) + "\n")
                lines.flush()


def main() -> int:
    """Run the relay; returns its exit code."""
    name, path, *flags = sys.argv[1:]
    instrument: Instrument = importlib.import_module(f"bench.profile.{name}").INSTRUMENT
    instrument.start()
    threading.Thread(target=_answer, args=(instrument, path), daemon=True).start()
    return relay(flags)


if __name__ == "__main__":
    sys.exit(main())
