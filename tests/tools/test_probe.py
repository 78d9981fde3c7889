"""``fastrelay probe``: passes against a relay, finds each kind of fault in one that is wrong."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from fastrelay import __version__
from fastrelay.cli import main
from fastrelay.tools.probe.checks import STEPS, check
from fastrelay.tools.probe.command import parse_endpoint, probe
from fastrelay.tools.probe.hints import hint_of
from tests.support import fake_relay as fakes
from tests.support.fake_relay import FakeRelay, served
from tests.support.harness import running_relay

WRONG = [
    (fakes.NoHealthz, "healthz answers ok", "HTTP 200", "HTTP 404"),
    (fakes.Unhealthy, "healthz answers ok", '"status":"ok"', '"status":"sick"'),
    (fakes.HealthzIsNoJson, "healthz answers ok", '"status":"ok"', "text of 60000 bytes: b'[[["),
    (fakes.RateLimits, "binary connects", "101 from /v1/server", "HTTP 429: too many attempts"),
    (fakes.RefusesUpgrades, "binary connects", "101 from /v1/server", "HTTP 503"),
    (fakes.LosesPhones, "phone joins its binary", "(8 hex digits)", "but the phone got close 4404"),
    (fakes.EchoesTheToken, "phone joins its binary", "(8 hex digits)", '{"token": "(the token)"}'),
    (fakes.OtherConnIds, "phone joins its binary", "(8 hex digits)", '"conn_id":"phone-1"'),
    (fakes.Rewrites, "frames reach the binary", '{ "\\xc3\\xa9":1.50,', '{"\\\\u00e9": 1.5,'),
    (
        fakes.ShortensLargeFrames,
        "frames reach the phone",
        "200000 bytes, from byte 65517",
        "65537 bytes",
    ),
    (
        fakes.SendsBinaryFrames,
        "frames reach the phone",
        "text of 1 bytes: b'7'",
        "a binary frame of 1",
    ),
    (fakes.NotUnderstoodAsFrames, "frames reach the phone", "text of 1 bytes", "that are no frame"),
    (
        fakes.ForgetsOneFrame,
        "small frames there and back",
        "for the binary",
        "nothing within 3 s, ",
    ),
    (fakes.WrongDirectedCode, "binary closes a phone", "close 4401, for the phone", "close 1000"),
    (
        fakes.NoDirectedCode,
        "binary closes a phone",
        "close 4401",
        "Connection reset|the end of the",
    ),
    (fakes.IgnoresDirectives, "binary closes a phone", "close 4401", "nothing within 3 s, "),
    (fakes.NoticeOfEveryClose, "binary is not told of that", '"frame":7}', '"close_code":4401}'),
    (fakes.NoNotice, "binary is told when a phone leaves", '"close_code":4001}', "nothing within"),
    (
        fakes.WrongNotice,
        "binary is told when a phone leaves",
        '"close_code":4001}',
        "_code\":1001}'",
    ),
    (fakes.TwoNotices, "binary leaves", "close 1000, for the binary", '"close_code":4001}'),
    (fakes.WrongRefusal, "unknown server-id is refused", "'no server with that id'", "'go away'"),
    (fakes.NoRefusal, "unknown server-id is refused", "close 4404", "nothing within 3 s, "),
]


def by_step(output: str) -> list[str]:
    """The lines of one output that tell of a step."""
    return [line for line in output.splitlines() if line.startswith(("ok", "FAIL"))]


# -- a relay that is right ------------------------------------------------------------------


async def test_passes_against_a_relay(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_relay(limits={"upgrade_burst": 4, "upgrade_refill": 3600.0}) as relay:
        url = relay.url
        assert await probe(parse_endpoint(url), 10) == 0
        await relay.until(lambda: relay.value("connected_binaries") == 0)
        assert relay.value("connected_phones") == 0
        assert f"binary_version={__version__} " in relay.log_of("server_claimed")[0]
        assert "server_id=probe-" in relay.log_of("server_claimed")[0]
    output = capsys.readouterr().out
    lines = by_step(output)
    assert [line[5:].partition("  ")[0] for line in lines] == [step.name for step in STEPS]
    assert all(line.startswith("ok ") and " ms" in line for line in lines)
    there_and_back = next(line for line in lines if "there and back" in line)
    assert all(f"{name} " in there_and_back for name in ("min", "median", "max"))
    assert output.splitlines()[-1].startswith(f"{url} works: {len(STEPS)} steps in ")


async def test_the_fake_relay_is_right_unless_it_is_broken() -> None:
    fake = FakeRelay()
    async with served(fake) as port:
        assert await probe(parse_endpoint(f"ws://localhost:{port}/"), 10) == 0
    assert fake.agents == {f"fastrelay-probe/{__version__}"}


async def test_results_are_data() -> None:
    results: list[Any] = []
    async with running_relay() as relay:
        assert await check(parse_endpoint(relay.url), 10, results.append) is None
    assert [result.step for result in results] == [step.name for step in STEPS]
    assert all(result.seconds > 0 and result.failure is None for result in results)
    measured = {result.step: set(result.measured) for result in results if result.measured}
    assert measured == {"small frames there and back": {"min", "median", "max"}}


async def test_the_command_passes_in_a_process() -> None:
    async with running_relay() as relay:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fastrelay", "probe", relay.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        stdout, stderr = await process.communicate()
    assert (process.returncode, stderr) == (0, b"")
    assert stdout.startswith(b"ok ")


# -- a relay that is wrong, or not there ----------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "step", "expected", "got"), WRONG, ids=[row[0].__name__ for row in WRONG]
)
async def test_finds_what_is_wrong(
    wrong: type[FakeRelay],
    step: str,
    expected: str,
    got: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = wrong()
    async with served(fake) as port:
        assert await probe(parse_endpoint(f"ws://127.0.0.1:{port}"), 3) == 1
    output = capsys.readouterr().out
    assert not any(token in output for token in fake.tokens)
    steps = by_step(output)
    assert steps[-1] == f"FAIL {step}"
    assert all(line.startswith("ok ") for line in steps[:-1])
    what, instead, *_ = output[output.index("FAIL") :].splitlines()[1:]
    assert what.startswith("  expected: ")
    assert expected in what
    assert instead.startswith("  got:      ")
    assert any(alternative in instead for alternative in got.split("|")), instead


async def test_a_rate_limit_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_relay(limits={"upgrade_burst": 2, "upgrade_refill": 7.0}) as relay:
        assert await probe(parse_endpoint(relay.url), 10) == 1
    *_, step, expected, got, hint = capsys.readouterr().out.splitlines()
    assert step == "FAIL binary is not told of that"
    assert expected == "  expected: HTTP 101 from /v1/client"
    assert got == "  got:      HTTP 429: too many attempts to connect from this address"
    assert hint.startswith("  hint:     wait 7 s or longer and probe less often")


async def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert await probe(parse_endpoint(f"ws://127.0.0.1:{port}"), 10) == 1
    step, _, got, hint = capsys.readouterr().out.splitlines()
    assert step == "FAIL healthz answers ok"
    assert got == "  got:      connection refused: nothing listens there"
    assert hint.startswith("  hint:     is the relay running, and does it listen on this address")


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (TimeoutError(), "does a firewall drop"),
        (TimeoutError(110, "Connection timed out"), "does a firewall drop"),
        (ConnectionRefusedError(), "is the relay running"),
        (ConnectionResetError(), "look at the log"),
        (socket.gaierror(-2, "Name or service not known"), "look at the spelling of the host"),
        (OSError(113, "No route to host"), "is there a way to that address"),
    ],
    ids=repr,
)
def test_every_error_of_a_connection_has_a_hint(error: OSError, hint: str) -> None:
    assert hint_of(error).startswith(hint)


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (None, "nothing within 0.05 s"),
        (b"", "the end of the connection"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "TLS, and no HTTP"),
        (b"SSH-2.0-x\r\n\r\n", "a broken HTTP response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "a broken HTTP response"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 100_000, "more than 65536 bytes"),
    ],
    ids=["silent", "hangs up", "TLS", "no HTTP", "half a response", "a flood"],
)
async def test_no_relay_listens(
    answer: bytes | None, got: str, capsys: pytest.CaptureFixture[str]
) -> None:
    served = asyncio.Event()

    async def other_service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await reader.read()  # until the probe gives up
        else:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        writer.close()
        served.set()

    server = await asyncio.start_server(other_service, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        seconds = 0.05 if answer is None else 20
        assert await probe(parse_endpoint(f"ws://127.0.0.1:{port}"), seconds) == 1
        await served.wait()
    assert got in capsys.readouterr().out.splitlines()[2]


async def test_a_broken_handshake(capsys: pytest.CaptureFixture[str]) -> None:
    class WrongAccept(FakeRelay):
        def answer(self, connection: ServerConnection, request: Request) -> Response | None:
            response = super().answer(connection, request)
            if response is None:
                response = connection.protocol.accept(request)
                response.headers.pop("Sec-WebSocket-Accept")
                response.headers["Sec-WebSocket-Accept"] = "wrong"
            return response

    async with served(WrongAccept()) as port:
        assert await probe(parse_endpoint(f"ws://127.0.0.1:{port}"), 10) == 1
    assert "a broken handshake: Bad accept token" in capsys.readouterr().out


# -- TLS ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for 127.0.0.1, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    pem = tmp_path_factory.mktemp("tls") / "relay.pem"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    names = ("-subj", "/CN=relay", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(pem), "-out", f"{pem}.crt")
    subprocess.run([openssl, "req", "-x509", *kind, *names, *files], check=True, timeout=20)
    pem.write_text(pem.read_text() + Path(f"{pem}.crt").read_text())
    return pem


@asynccontextmanager
async def served_over_tls(certificate: Path) -> AsyncIterator[str]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    async with served(FakeRelay(), tls) as port:
        yield f"wss://127.0.0.1:{port}"


async def test_tls_with_a_private_ca(certificate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with served_over_tls(certificate) as url:
        assert await probe(parse_endpoint(url, str(certificate)), 10) == 0
        assert f"{url} works" in capsys.readouterr().out
        assert await probe(parse_endpoint(url), 10) == 1
    step, _, got, hint = capsys.readouterr().out.splitlines()
    assert step == "FAIL healthz answers ok"
    assert got == "  got:      a certificate that is not trusted: self-signed certificate"
    assert "--ca-file" in hint


async def test_tls_where_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_relay() as relay:
        assert await probe(parse_endpoint(f"wss://127.0.0.1:{relay.port}"), 10) == 1
    assert "  got:      no TLS: " in capsys.readouterr().out


# -- arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("ws://127.0.0.1:8080", ("127.0.0.1", 8080, "127.0.0.1:8080")),
        ("WS://Relay.Example/", ("relay.example", 80, "relay.example")),
        ("ws://[::1]:8080/", ("::1", 8080, "[::1]:8080")),
        ("ws://bücher.example:81", ("xn--bcher-kva.example", 81, "xn--bcher-kva.example:81")),
    ],
)
def test_urls(url: str, endpoint: tuple[str, int, str]) -> None:
    parsed = parse_endpoint(url)
    assert (parsed.host, parsed.port, parsed.authority) == endpoint


@pytest.mark.parametrize(
    ("arguments", "what", "fix"),
    [
        ((), "the following arguments are required: URL", "fastrelay probe --help"),
        (("ws://a", "ws://b"), "unrecognized arguments: ws://b", "fastrelay probe --help"),
        (("ws://a", "--time", "1"), "there is no flag '--time'", "did you mean --timeout?"),
        (("--tiemout", "1", "ws://a"), "there is no flag '--tiemout'", "did you mean --timeout?"),
        (("--zzz=s3cret", "ws://a"), "there is no flag '--zzz'", "fastrelay probe --help"),
        (("ws://a", "--timeout", "0"), "'0' is not a number from 0.001", "probe --help"),
        (("127.0.0.1:8080",), "does not begin with ws://", "ws://127.0.0.1:8080"),
        (("http://a:80",), "does not begin with ws://", "wss://relay"),
        (("ws://",), "no HOST:PORT", "ws://127.0.0.1:8080"),
        (("ws://:80",), "no HOST:PORT", "ws://"),
        (("ws://a:0",), "no HOST:PORT", "ws://"),
        (("ws://a:65536",), "no HOST:PORT", "ws://"),
        (("ws://a:b",), "no HOST:PORT", "ws://"),
        (("ws://[::1",), "no HOST:PORT", "ws://"),
        (("ws://a b",), "no HOST:PORT", "ws://"),
        (("ws://a..b",), "no HOST:PORT", "ws://"),
        (("ws://a/v1/server",), "more than a scheme, a host and a port", "ws://"),
        (("ws://a?x=1",), "more than a scheme", "ws://"),
        (("ws://u:hunter2@a",), "more than a scheme", "ws://"),
        (("ws://a", "--ca-file", "ca.pem"), "no meaning with ws://", "use wss://"),
        (("wss://a", "--ca-file", "/none.pem"), "No such file", "PEM"),
        (("wss://a", "--ca-file", __file__), "no certificates in it", "PEM"),
    ],
    ids=" ".join,
)
def test_arguments_that_make_no_sense(
    arguments: tuple[str, ...], what: str, fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["probe", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    first, second = output.err.splitlines()
    assert first.startswith("fastrelay: ")
    assert what in first
    assert fix in second
    assert "hunter2" not in output.err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["probe", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "usage: fastrelay probe" in text
    assert "--ca-file FILE with wss://" in text
    assert "--timeout SECONDS how long all steps of a round together may take (default: 30)" in text
    assert "exit codes: 0 all is well" in text
    assert "3 all steps passed, but the certificate expires" in text


def test_a_reader_that_leaves_gets_no_traceback() -> None:
    refused = (sys.executable, "-m", "fastrelay", "probe", "ws://127.0.0.1:1")
    reading, writing = socket.socketpair()
    with writing:
        reading.close()
        done = subprocess.run(refused, stdout=writing, stderr=subprocess.PIPE, timeout=20)
    assert (done.returncode, done.stderr) == (1, b"")
