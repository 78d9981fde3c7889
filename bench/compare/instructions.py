"""Instructions of the relay process for one round trip, counted by callgrind.

One phone and one binary talk through a relay that runs under valgrind. Every step waits for the one
before it, so each message or batch reaches the relay in one read, and two runs differ by less than
one percent whatever else the machine does. The count covers all user-mode code of the process:
Python, uvloop and OpenSSL. The kernel's part is not in it.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from bench.compare.contenders import Contender, Workshop, importing_from
from bench.compare.plan import Load
from bench.load.pairs import Home, Line, Wrong, through
from bench.support.wire import client_frame

_PARTS: Final = 5
_MESSAGES, _BYTES, _FEWEST = 160, 1_500_000, 5
"""Of one part: messages, or as many as make so many bytes, but so many batches at least. A part
must be over before the relay pings its connections, and under valgrind it is fifty times slower."""

_PATIENCE: Final = 60.0

_CLOCKS: Final = """
import itertools, time
time.thread_time = itertools.count(0.0, 1e-6).__next__
time.perf_counter = itertools.count(0.0, 1e-6).__next__
"""
"""What a process imports at its start: the clocks that measure the cost of a read. Under valgrind
every read would seem dear, and would be divided into turns that there are not otherwise."""


def available() -> bool:
    """Whether valgrind with callgrind is installed."""
    return all(shutil.which(program) for program in ("valgrind", "callgrind_control"))


def count_instructions(
    shop: Workshop,
    name: str,
    loads: Sequence[Load],
    checkout: Path | None = None,
    module: str = "fastrelay",
) -> dict[str, float]:
    """Instructions a round trip, by the label of each load.

    Args:
        name: a contender of ours, plain or TLS.
        checkout: where the relay is imported from; ``None``: the working directory.
        module: see :meth:`Workshop.start`.
    """
    dumps = shop.directory / "callgrind.out"
    valgrind = f"valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file={dumps}"
    (shop.directory / "sitecustomize.py").write_text(_CLOCKS)
    # The same hashes in each run, or dictionaries would differ.
    sources = importing_from(shop.directory, checkout or Path.cwd())
    before = f"{sources} PYTHONHASHSEED=0 {valgrind}"
    with shop.start(name, module=module, before=before) as contender:
        _control(contender, "-i", "on")
        line = Line(contender.relay.port, shop.ca_file if name.endswith(" tls") else "")
        return {load.label: _of_load(contender, line, load, dumps) for load in loads}


def _of_load(contender: Contender, line: Line, load: Load, dumps: Path) -> float:
    """The median of several parts: a part may contain a tick of a timer, or a scheduled task."""
    rounds = max(_FEWEST, min(_MESSAGES, _BYTES // load.size) // load.window)
    counts = []
    for _ in range(_PARTS):
        with _blocking_home(line, load.size) as home:
            _converse(home, load.window, _FEWEST)
            _control(contender, "--zero")
            _converse(home, load.window, rounds)
            _control(contender, "--dump")
        counts.append(_newest(dumps) / (rounds * load.window))
    return median(counts)


def _control(contender: Contender, *what: str) -> None:
    command = ("callgrind_control", *what, str(contender.relay.pid))
    subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE)


def _newest(dumps: Path) -> int:
    """The sum in the dump that was written last; the dumps are deleted."""
    files = sorted(dumps.parent.glob(f"{dumps.name}.*"), key=lambda file: int(file.suffix[1:]))
    found = re.search(r"^(?:summary|totals): (\d+)", files[-1].read_text(), re.MULTILINE)
    assert found, files
    for file in files:
        file.unlink()
    return int(found[1])


@contextmanager
def _blocking_home(line: Line, size: int) -> Iterator[Home]:
    home = through(line, size, 1)
    try:
        for side in (home.binary, *home.phones):
            side.sock.settimeout(_PATIENCE)
        yield home
    finally:
        home.close()


def _converse(home: Home, window: int, rounds: int) -> None:
    """Phone, relay, binary, relay, phone; ``window`` messages at once, so many times."""
    (phone,) = home.phones
    asked, answer = client_frame(home.message) * window, client_frame(home.envelopes[0]) * window
    for _ in range(rounds):
        for source, data, sink in ((phone, asked, home.binary), (home.binary, answer, phone)):
            if not source.say(data):
                raise Wrong(f"the relay took none of {len(data)} bytes for {_PATIENCE:g} s")
            arrived = 0
            while arrived < window:
                arrived += sink.heard()
