"""The command itself: what it refuses and how it says so, how it starts, how signals end it."""

import asyncio
import io
import json
import re
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stderr, redirect_stdout
from ipaddress import ip_network
from typing import Any

import pytest

from fastrelay import __version__
from fastrelay.cli import main
from fastrelay.preflight import (
    Refusal,
    parse_address,
    parse_metrics_address,
    parse_networks,
    share_descriptors,
)
from fastrelay.settings import Address
from tests.support.peer import Peer, open_http, open_peer, request

COMMAND = (sys.executable, "-m", "fastrelay")
LISTEN = ("--insecure-listen", "127.0.0.1:8080")
"""A good listener for command lines that are refused for something else before it is bound."""


def run(*arguments: str | bytes) -> subprocess.CompletedProcess[str]:
    """The whole life of a command that must end by itself."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=20)


def what_and_fix(said: str) -> tuple[str, str]:
    """What is wrong and how to fix it: all that a refused command says on stderr."""
    lines = said.splitlines()
    assert len(lines) == 2, said
    assert all(line.startswith("fastrelay: ") for line in lines)
    return lines[0].removeprefix("fastrelay: "), lines[1].removeprefix("fastrelay: ")


def refused(*arguments: str) -> tuple[str, str]:
    """A refusal of the command's own function: starting a process for each would take long."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        code = main(arguments)
    assert (code, stdout.getvalue()) == (2, "")
    return what_and_fix(stderr.getvalue())


def refused_process(*arguments: str | bytes) -> tuple[str, str]:
    """A refusal of the whole command."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    return what_and_fix(done.stderr)


@contextmanager
def taken_port() -> Iterator[int]:
    """A port somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def free_port() -> int:
    """A port nobody listens on: the flags do not take 0."""
    with taken_port() as port:
        return port


class Command:
    """A relay in a process of its own, that has said it is starting."""

    def __init__(self, process: Process, port: int, said: str) -> None:
        self.process = process
        self.port = port
        self.said = said

    async def binary(self) -> Peer:
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1"}
        return await open_peer(self.port, "/v1/server", headers)

    async def phone(self) -> Peer:
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t0k3n"}
        return await open_peer(self.port, "/v1/client", headers)

    async def next_line(self) -> str:
        """The next line on stderr."""
        assert self.process.stderr is not None
        async with asyncio.timeout(10):
            return (await self.process.stderr.readline()).decode()

    async def end(self, within: float = 10.0) -> tuple[int, str]:
        """The exit code, and what was said on stderr since the last line read."""
        async with asyncio.timeout(within):
            _, said = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, said.decode()


@asynccontextmanager
async def running_command(*flags: str, metrics: str = "") -> AsyncIterator[Command]:
    """``fastrelay`` with ``flags``, on a free port."""
    port = free_port()
    arguments = ("--insecure-listen", f"127.0.0.1:{port}", "--metrics-listen", metrics, *flags)
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, stderr=PIPE)
    command = Command(process, port, "")
    try:
        command.said = await command.next_line()
        yield command
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


# -- what it says about itself --------------------------------------------------------------


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


def test_help_mentions_every_flag_and_its_default() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    for flag, default in {
        "--insecure-listen HOST:PORT": "",
        "--metrics-listen IP:PORT": "(default: 127.0.0.1:9090)",
        "--trust-x-forwarded-for [CIDR[,...]]": "(default: the socket's peer)",
        "--max-connections N": "at most 10000)",
        "--max-connections-per-ip N": "(default: 0)",
        "--max-message-bytes N": "(default: 262144)",
        "--max-phones N": "(default: 16)",
        "--max-buffered-bytes N": "(default: 268435456)",
        "--grace SECONDS": "(default: 30)",
        "--upgrade-burst N": "(default: 20)",
        "--upgrade-refill SECONDS": "(default: 6)",
        "--push-endpoint URL": "(default: https://fcm.googleapis.com)",
        "--push-token-url URL": "(default: https://oauth2.googleapis.com/token)",
        "--push-ca-file FILE": "(default: the system's)",
        "--log-level {debug,info,warning,error}": "default: info",
        "--log-format {logfmt,json}": "default: logfmt",
    }.items():
        _, found, after = text.rpartition(f" {flag} ")
        assert found, flag
        assert default in re.split(r" --|: -", after)[0], flag
    assert "fastrelay probe --help" in text


def test_no_listener_explains_the_two_ways() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "no listener was asked for" in done.stderr
    assert "fastrelay --insecure-listen 127.0.0.1:8080" in done.stderr
    assert "fastrelay probe ws://127.0.0.1:8080" in done.stderr
    assert "Traceback" not in done.stderr


# -- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "::1:8080", ""]
)
def test_a_bad_address(address: str) -> None:
    what, fix = refused("--insecure-listen", address)
    assert "--insecure-listen" in what
    assert "is not HOST:PORT" in what
    assert "127.0.0.1:8080" in fix


def test_a_refusal_of_the_whole_command() -> None:
    what, _ = refused_process("--insecure-listen", b"\xff:80")
    assert what == "--insecure-listen '\\udcff:80' is not HOST:PORT"
    what, _ = refused_process("--max-phones=0", *LISTEN)
    assert what == "argument --max-phones: '0' is not a whole number of at least 1"


@pytest.mark.parametrize("flag", ["--insecure-listen", "--metrics-listen"])
@pytest.mark.parametrize("port", ["0", "65536"])
def test_a_port_that_is_none(flag: str, port: str) -> None:
    what, _ = refused(*LISTEN, flag, f"127.0.0.1:{port}")
    assert what == f"{flag} '127.0.0.1:{port}' has no port from 1 to 65535"


@pytest.mark.parametrize("host", ["localhost", "", "0.0.0.0", "192.0.2.1", "[::]"])
def test_metrics_only_on_a_loopback_literal(host: str) -> None:
    what, fix = refused(*LISTEN, "--metrics-listen", f"{host}:9090")
    assert what == f"--metrics-listen '{host}:9090' is not a loopback address"
    assert "127.0.0.1:PORT" in fix


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--no-such-flag",), "unrecognized arguments: --no-such-flag"),
        (("--no-such\nflag",), "unrecognized arguments: --no-such flag"),
        (("stray",), "unrecognized arguments: stray"),
        (("--max-p", "3"), "unrecognized arguments: --max-p 3"),
        (("--grace",), "--grace: expected one argument"),
        (("--grace", "-1"), "'-1' is not a number of at least 0"),
        (("--grace", "soon"), "'soon' is not a number of at least 0"),
        (("--grace", "nan"), "'nan' is not a number of at least 0"),
        (("--grace", "inf"), "'inf' is not a number of at most"),
        (("--max-phones", "0"), "'0' is not a whole number of at least 1"),
        (("--max-phones", "1.5"), "'1.5' is not a whole number of at least 1"),
        (("--max-connections", "0"), "'0' is not a whole number of at least 1"),
        (("--max-connections-per-ip", "-1"), "'-1' is not a whole number of at least 0"),
        (("--max-message-bytes", "x"), "'x' is not a whole number of at least"),
        (("--max-message-bytes", "67108865"), "is not a whole number of at most 67108864"),
        (("--max-buffered-bytes", "0"), "'0' is not a whole number of at least 1"),
        (("--upgrade-burst", "-1"), "'-1' is not a whole number of at least 0"),
        (("--upgrade-refill", "0"), "'0' is not a number of at least 0.001"),
        (("--log-level", "loud"), "invalid choice: 'loud'"),
        (("--log-format", "xml"), "invalid choice: 'xml'"),
    ],
    ids=" ".join,
)
def test_a_flag_that_makes_no_sense(arguments: tuple[str, ...], complaint: str) -> None:
    what, fix = refused(*LISTEN, *arguments)
    assert complaint in what
    assert fix == "fastrelay --help shows every flag and its default"


@pytest.mark.parametrize("networks", ["10.0.0.0/33", "10.0.0.1/8", "proxy", "10.0.0.0/8,", ""])
def test_a_trusted_network_that_is_none(networks: str) -> None:
    what, fix = refused(*LISTEN, "--trust-x-forwarded-for", networks)
    assert what.startswith("--trust-x-forwarded-for: ")
    assert "10.0.0.0/8" in fix


def test_more_connections_than_descriptors() -> None:
    what, fix = refused(*LISTEN, "--max-connections", "1000000000")
    assert what.startswith("--max-connections 1000000000 needs more than the ")
    assert re.match(r"ask for at most \d+, or raise the limit \(ulimit -n", fix)


@pytest.mark.parametrize("flag", ["--insecure-listen", "--metrics-listen"])
def test_a_port_in_use(flag: str) -> None:
    with taken_port() as port:
        free = ("--insecure-listen", f"127.0.0.1:{free_port()}", "--metrics-listen", "")
        what, fix = refused_process(*free, flag, f"127.0.0.1:{port}")
    assert "Address already in use" in what
    assert str(port) in what
    assert fix == "free that address, or name another"


def test_a_host_that_is_not_here() -> None:
    what, _ = refused_process("--insecure-listen", "192.0.2.1:8080", "--metrics-listen", "")
    assert "192.0.2.1" in what


# -- starting -------------------------------------------------------------------------------


async def test_starting_is_said_in_logfmt() -> None:
    async with running_command() as command:
        listen = f"mode=insecure listen=127.0.0.1:{command.port} metrics=off push=off"
        assert re.fullmatch(
            rf"time=\S+Z level=INFO msg=starting version={__version__} {listen}\n", command.said
        )


async def test_starting_is_said_in_json_with_the_metrics_served() -> None:
    metrics_port = free_port()
    metrics = f"127.0.0.1:{metrics_port}"
    async with running_command("--log-format", "json", metrics=metrics) as command:
        said: dict[str, Any] = json.loads(command.said)
        assert said.pop("time").endswith("Z")
        assert said == {
            "level": "INFO",
            "msg": "starting",
            "version": __version__,
            "mode": "insecure",
            "listen": f"127.0.0.1:{command.port}",
            "metrics": metrics,
            "push": "off",
        }
        async with await open_http(metrics_port) as client:
            client.send(request("/metrics"))
            status, _, body = await client.response()
        assert status == 200
        assert b"pyrycode_relay_connected_binaries" in body


async def test_no_metrics_are_served_when_turned_off() -> None:
    async with running_command() as command:
        async with await open_http(command.port) as client:
            client.send(request("/metrics"))
            assert (await client.response())[0] == 404
            client.send(request("/healthz"))
            assert (await client.response())[0] == 200


async def test_a_rate_limit_that_is_off_is_said() -> None:
    async with running_command("--upgrade-burst", "0") as command:
        said = await command.next_line()
        assert "level=WARN msg=rate_limit_off" in said
        assert "--upgrade-burst 20" in said


# -- signals --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_says_goodbye_to_everybody(number: signal.Signals) -> None:
    async with running_command() as command:
        async with await command.binary() as binary, await command.phone() as phone:
            command.process.send_signal(number)
            for peer in (binary, phone):
                assert await peer.closed() == (1001, "shutting down")
                assert await peer.at_eof()
        code, said = await command.end()
        assert code == 0
        assert "msg=draining" in said
        assert "msg=stopped" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_drops_who_does_not_answer(second: signal.Signals) -> None:
    async with running_command() as command:
        async with await command.binary() as silent:
            command.process.send_signal(signal.SIGTERM)
            assert await silent.closed(answer=False) == (1001, "shutting down")
            command.process.send_signal(second)
            # Sooner than the 5 s a peer has for its close frame.
            code, said = await command.end(within=3.0)
            assert await silent.at_eof()
        assert code == 0
        assert "Traceback" not in said


async def test_nobody_connected_needs_no_drain() -> None:
    async with running_command() as command:
        command.process.send_signal(signal.SIGTERM)
        code, _ = await command.end(within=3.0)
        assert code == 0


# -- the rules behind the refusals ----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), "127.0.0.1:8080"),
        ("relay.example:1", Address("relay.example", 1), "relay.example:1"),
        (":65535", Address("", 65535), ":65535"),
        ("[::1]:80", Address("::1", 80), "[::1]:80"),
    ],
)
def test_addresses(text: str, address: Address, shown: str) -> None:
    assert parse_address("--flag", text) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "host", "host:", "host:80a", "host:-1", "host:+1", "host:1_0", "host: 1"),
        *("host:٣", "höst:80", "::1:80", "[::1]", "[::1:80", "::1]:80", "[]:80", "[host]:80"),
        *("host:0", "host:65536", "host:" + "9" * 5000),
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(Refusal, match="--flag") as refusal:
        parse_address("--flag", text)
    assert refusal.value.fix


def test_metrics_addresses() -> None:
    assert parse_metrics_address("") is None
    assert parse_metrics_address("[::1]:9090") == Address("::1", 9090)
    assert parse_metrics_address("127.8.9.1:1") == Address("127.8.9.1", 1)


def test_networks() -> None:
    given = parse_networks("--flag")("10.0.0.0/8, 192.0.2.7,fd00::/8")
    assert given == tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7/32", "fd00::/8")))


@pytest.mark.parametrize(
    ("descriptors", "wanted", "shares"),
    [
        (1_000_000, None, (10_000, 1_000)),
        (20_000, None, (10_000, 1_000)),
        (1_024, None, (864, 96)),
        (1_024, 864, (864, 96)),
        (1_024, 5, (5, 96)),
        (81, None, (1, 16)),
        (1_000_000, 500_000, (500_000, 1_000)),
    ],
)
def test_descriptors_shared(descriptors: int, wanted: int | None, shares: tuple[int, int]) -> None:
    assert share_descriptors(descriptors, wanted) == shares
    assert sum(shares) < descriptors


@pytest.mark.parametrize(
    ("descriptors", "wanted", "what", "fix"),
    [
        (1_024, 865, "--max-connections 865 needs more than the 1024", "at most 864"),
        (80, None, "may open 80 file descriptors, too few", "to 81 or more"),
        (80, 1, "may open 80 file descriptors, too few", "to 81 or more"),
    ],
)
def test_descriptors_too_few(descriptors: int, wanted: int | None, what: str, fix: str) -> None:
    with pytest.raises(Refusal, match=what) as refusal:
        share_descriptors(descriptors, wanted)
    assert fix in refusal.value.fix
