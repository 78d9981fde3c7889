"""A relay with an instrument inside, and the load that drives it, seen from outside."""

import contextlib
import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.compare.contenders import Contender, Workshop


class Inside(NamedTuple):
    """``ask`` puts a question to the instrument, which is best done while the relay is idle."""

    contender: Contender
    ask: Callable[[str], Any]


@contextlib.contextmanager
def instrumented(shop: Workshop, name: str, instrument: str) -> Iterator[Inside]:
    """A relay of ours by its contender's name, with ``bench.profile.<instrument>`` inside."""
    with (
        tempfile.TemporaryDirectory(prefix="relay-profile-") as directory,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        path = str(Path(directory) / "pipe")
        listener.bind(path)
        listener.listen()
        module = f"bench.profile.host {instrument} {path}"
        with shop.start(name, module=module) as contender:
            pipe, _ = listener.accept()
            with pipe, pipe.makefile("rw") as lines:

                def ask(question: str) -> Any:
                    lines.write(question + "\n")
                    lines.flush()
                    return json.loads(lines.readline())

                yield Inside(contender, ask)
