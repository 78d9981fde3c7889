"""``fastrelay probe URL``: reads the arguments, prints the results."""

import argparse
import asyncio
import os
import re
import ssl
import sys
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from fastrelay.preflight import Refusal, RefusingParser, number
from fastrelay.probe.checks import STEPS, Result, check
from fastrelay.probe.client import Endpoint

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130

_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")
_EXAMPLES: Final = "for example ws://127.0.0.1:8080 or wss://relay.example.com"
_NAME_WIDTH: Final = max(len(step.name) for step in STEPS)

_DESCRIPTION: Final = """\
Checks a running relay from outside: connects as a binary under a random server-id and as phones
of it, sends frames both ways and compares every byte, and closes in the ways that have a meaning.
Nobody else's connections are touched. A run takes four of the upgrade attempts that the relay
grants this address.

Prints a line for each step as it finishes. At the first that fails it says what was expected and
what came instead, and stops.
"""

_EXIT_CODES: Final = """\
exit codes: 0 all is well, 1 a step failed, 2 the arguments make no sense
"""


def main(arguments: Sequence[str]) -> int:
    """Check the relay that ``arguments`` name; returns the exit code.

    Raises:
        Refusal: the arguments make no sense.
    """
    options = _parser().parse_args(arguments)
    endpoint = parse_endpoint(options.url, options.ca_file)
    try:
        return asyncio.run(probe(endpoint, options.timeout))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read the results has left; what is still buffered must not raise at exit, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def _parser() -> RefusingParser:
    parser = RefusingParser(
        prog="fastrelay probe",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", help="ws://HOST:PORT or wss://HOST:PORT, no path")
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="with wss://: the CA certificates to trust, as PEM (default: the system's)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=number(float, 0.001),
        default=10,
        help="how long each step may take (default: %(default)g)",
    )
    return parser


async def probe(endpoint: Endpoint, patience: float) -> int:
    """Check the relay at ``endpoint`` and print how it goes; returns the exit code.

    Args:
        patience: seconds each step may take.
    """
    results: list[Result] = []

    def report(result: Result) -> None:
        results.append(result)
        print(render(result), flush=True)

    if not await check(endpoint, patience, report):
        return EXIT_FAILED
    seconds = sum(result.seconds for result in results)
    print(f"{endpoint} works: {len(results)} steps in {_milliseconds(seconds)}", flush=True)
    return EXIT_PASSED


def render(result: Result) -> str:
    """A result for people: a line, or for a fault a few."""
    if result.fault is not None:
        fault = result.fault
        lines = [f"FAIL {result.step}", f"  expected: {fault.expected}", f"  got:      {fault.got}"]
        return "\n".join([*lines, f"  hint:     {fault.hint}"] if fault.hint else lines)
    line = f"ok   {result.step:{_NAME_WIDTH}} {_milliseconds(result.seconds):>12}"
    measured = (f"{name} {_milliseconds(value)}" for name, value in result.measured.items())
    return f"{line}   {', '.join(measured)}".rstrip()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def parse_endpoint(url: str, ca_file: str | None = None) -> Endpoint:
    """Where ``url`` leads: ``ws`` or ``wss``, a host, and a port if it is not the scheme's.

    Raises:
        Refusal: it is something else, or ``ca_file`` cannot be used. The text never quotes the
            URL, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError:  # what idna raises is one, too
        raise Refusal("the URL has no HOST:PORT that can be used", _EXAMPLES) from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise Refusal("the URL does not begin with ws:// or wss://", _EXAMPLES)
    if not _HOST.fullmatch(host) or port == 0:
        raise Refusal("the URL has no HOST:PORT that can be used", _EXAMPLES)
    if not _only_names_a_place(parts):
        raise Refusal("the URL has more than a scheme, a host and a port", _EXAMPLES)
    tls = _trust(ca_file) if parts.scheme == "wss" else None
    if ca_file is not None and tls is None:
        raise Refusal("--ca-file has no meaning with ws://", "leave it out, or use wss://")
    return Endpoint(host, port or _DEFAULT_PORTS[parts.scheme], tls)


def _only_names_a_place(parts: SplitResult) -> bool:
    # A relay has its endpoints at fixed paths, so a path in the URL is a misunderstanding.
    has_user = "@" in parts.netloc
    return parts.path in {"", "/"} and not (has_user or parts.query or parts.fragment)


def _trust(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # what ssl raises is one, too
        why = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise Refusal(
            f"--ca-file {ca_file!r} cannot be used: {why}",
            "name a readable file of PEM certificates",
        ) from None
