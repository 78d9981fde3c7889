"""``python -m bench load``: one load on one relay, and what it cost.

The relay is a contender of the comparison, or any other: started by a command (``--relay``), or
running already (``--port`` and ``--pid``).
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

from bench.compare.contenders import EXTERNAL, FLOORS, NAMES, workshop
from bench.compare.figures import FIGURES, shown
from bench.compare.plan import Load
from bench.load.traffic import SHAPES
from bench.support.arguments import Arguments
from bench.support.generator import Failed, Generator
from bench.support.machine import describe
from bench.support.relay import Relay

_TERMINAL_EVERY, _FILE_EVERY = 0.5, 5.0
"""Seconds from one line of progress to the next."""


def main(arguments: Sequence[str]) -> int:
    """Run it and print its figures; returns 1 if a reply was wrong."""
    parser = Arguments("load", __doc__)
    parser.add_argument(
        "load",
        choices=(*SHAPES, "idle", "storm"),
        help="roundtrip: phone, binary, phone; up: phone to binary; down: binary to 16 phones;"
        " idle: connections without traffic; storm: they all reconnect at once",
    )
    parser.option("--contender", "fastrelay", "what is measured", choices=NAMES)
    parser.option("--relay", "", "a relay's command, with {port}", metavar="COMMAND")
    parser.add_argument("--port", type=int, help="of a relay that runs on 127.0.0.1")
    parser.add_argument("--pid", type=int, help="of that relay: its CPU and memory are read")
    parser.option("--ca-file", "", "what verifies that relay's certificate")
    parser.option("--conns", 16, "binaries, each with its phones")
    parser.option("--size", 256, "bytes a message")
    parser.option("--window", 1, "messages of each phone on their way at once")
    parser.option("--rate", 0.0, "messages a second; 0: as fast as the relay answers")
    parser.option("--seconds", 3.0, "length of the measurement")
    parser.option("--count", 1000, "idle connections")
    options = parser.parse_args(arguments)
    if (options.port is None) != (options.pid is None):
        parser.error("--port and --pid go together")
    if options.contender in FLOORS and options.load != "roundtrip":
        parser.error("a floor is no relay: it can only do round trips")
    with _generator(options) as generator:
        try:
            found = _run(generator, options)
        except Failed as failed:
            print(f"not right: {failed}")
            return 1
    for figure, value in found.items():
        print(f"{FIGURES[figure].what:<52}{shown(figure, value)}")
    print(describe())
    return 0


@contextlib.contextmanager
def _generator(options: argparse.Namespace) -> Iterator[Generator]:
    if options.port is not None:
        with Generator(Relay(options.pid, options.port), options.ca_file) as generator:
            yield generator
        return
    with workshop(options.relay) as shop:
        name = EXTERNAL if options.relay else options.contender
        if why := shop.why_absent(name):
            raise SystemExit(f"without {name}: {why}")
        with shop.start(name) as contender:
            yield contender.generator


def _run(generator: Generator, options: argparse.Namespace) -> dict[str, float]:
    if options.load in SHAPES:
        load = Load(options.conns, options.size, options.window, options.rate, options.load)
        generator.begin(load.shape, **load.arguments(), seconds=options.seconds)
        return _wait(generator, f"{load.label}, {options.seconds:g} s and warm-up")
    generator.begin("connect", count=options.count)
    found = _wait(generator, f"{options.count} connections")
    if options.load == "idle":
        return found
    generator.begin("storm")
    return _wait(generator, f"reconnect storm of {options.count} connections")


def _wait(generator: Generator, what: str) -> dict[str, float]:
    """The result; until it is there, progress goes to stderr."""
    terminal = sys.stderr.isatty()
    begin, end = ("\r", "") if terminal else ("", "\n")
    started = time.monotonic()
    while not generator.ready(_TERMINAL_EVERY if terminal else _FILE_EVERY):
        sys.stderr.write(f"{begin}{what}: {time.monotonic() - started:.0f} s so far{end}")
        sys.stderr.flush()
    if terminal:
        sys.stderr.write("\r\x1b[K")
    return generator.result()
