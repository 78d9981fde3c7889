"""``python -m bench load``: one load on one relay, and what it cost.

The relay is a contender of the comparison, or any other: started by a command (``--relay``), or
running already (``--port`` and ``--pid``).
"""

import argparse
import contextlib
from collections.abc import Iterator, Sequence

from bench.compare.contenders import EXTERNAL, FLOORS, NAMES, workshop
from bench.compare.plan import Load
from bench.load.traffic import SHAPES
from bench.support.generator import Failed, Generator
from bench.support.machine import describe
from bench.support.relay import Relay


def main(arguments: Sequence[str]) -> int:
    """Run it and print its figures; returns 1 if a reply was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench load", description=__doc__)
    parser.add_argument(
        "load",
        choices=(*SHAPES, "idle", "storm"),
        help="roundtrip: phone, binary, phone; up: phone to binary; down: binary to 16 phones;"
        " idle: connections that say nothing; storm: they all come back at once",
    )
    parser.add_argument(
        "--contender", choices=NAMES, default="fastrelay", help="default: %(default)s"
    )
    parser.add_argument("--relay", default="", metavar="COMMAND", help="with {port}; default: none")
    parser.add_argument("--port", type=int, help="of a relay that runs on 127.0.0.1")
    parser.add_argument("--pid", type=int, help="of that relay: its CPU and memory are read")
    parser.add_argument("--ca-file", default="", help="what verifies that relay's certificate")
    parser.add_argument("--conns", type=int, default=16, help="homes; default: %(default)s")
    parser.add_argument("--size", type=int, default=256, help="bytes; default: %(default)s")
    parser.add_argument(
        "--window", type=int, default=1, help="messages of each on their way; default: %(default)s"
    )
    parser.add_argument(
        "--rate", type=float, default=0.0, help="messages a second; default: as fast as they come"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="default: %(default)g")
    parser.add_argument("--count", type=int, default=1000, help="idle ones; default: %(default)s")
    options = parser.parse_args(arguments)
    if (options.port is None) != (options.pid is None):
        parser.error("--port and --pid go together")
    if options.contender in FLOORS and options.load != "roundtrip":
        parser.error("a floor is no relay: it can only do round trips")
    with _generator(options) as generator:
        try:
            for figure, value in _run(generator, options).items():
                print(f"{figure:<12} {value:.6g}")
        except Failed as failed:
            print(f"not right: {failed}")
            return 1
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
        return generator.run(load.shape, **load.arguments(options.seconds))
    found = generator.run("connect", count=options.count)
    return generator.run("storm") if options.load == "storm" else found
