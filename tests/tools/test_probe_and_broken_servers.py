"""The probe against servers that are broken, or that mean to harm the one who asks."""

import asyncio
import json
import re
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fastrelay.cli import main
from fastrelay.tools.support.printable import printable
from tests.support import broken_server as broken
from tests.support.broken_server import Answer, Conversation, broken_server, endless, raw
from tests.support.certificates import authority, local_certificate
from tests.support.harness import running_relay

OK = b"HTTP/1.1 200 OK\r\n"
TERA = (2**40).to_bytes(8, "big")
HOSTILE_TEXT = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202e\u2066[bold]\ud7ff"

LET_SEND = 8 * broken.MIB
"""What a server may send before the probe has given up; most of it lies in kernel buffers."""


async def probe(
    capsys: pytest.CaptureFixture[str], port: int, *arguments: str, scheme: str = "ws"
) -> tuple[int, str]:
    """The exit code and the output of the command; it must end by itself."""
    command = ["probe", f"{scheme}://127.0.0.1:{port}", *arguments]
    async with asyncio.timeout(60):
        code = await asyncio.to_thread(main, command)
    output = capsys.readouterr()
    assert output.err == ""
    text = output.out
    assert all(" " <= character <= "~" or character == "\n" for character in text), ascii(text)
    assert all(len(line) < 400 for line in text.splitlines())
    return code, text


async def slow_body(conversation: Conversation) -> None:
    await conversation.dribble(OK + b"\r\n")


async def slow_head(conversation: Conversation) -> None:
    await conversation.dribble(OK + b"a: ")


async def silent(conversation: Conversation) -> None:
    await conversation.reader.read()


async def reset(conversation: Conversation) -> None:
    if not conversation.path:
        await conversation.reader.read(1)  # the beginning of a TLS handshake
    conversation.reset()


OF_HTTP: dict[str, tuple[Answer, str, str]] = {
    "endless body": (endless(OK + b"\r\n", b"x"), "HTTP 200 with more than 65536 bytes", ""),
    "endless chunks": (endless(broken.CHUNKED, b"1\r\nx\r\n"), "HTTP 200 with more than 65536", ""),
    "endless chunk": (
        endless(broken.CHUNKED + b"ffffffffff\r\n", b"x"),
        "HTTP 200 with more than 65536 bytes",
        "",
    ),
    "endless chunk extension": (endless(broken.CHUNKED + b"1;", b"x"), "broken HTTP response", ""),
    "endless trailers": (endless(broken.CHUNKED + b"0\r\n", b"a: b\r\n"), "broken HTTP", ""),
    "endless fields": (endless(OK, b"a: b\r\n"), "a broken HTTP response", ""),
    "endless field": (endless(OK + b"a: ", b"x"), "a broken HTTP response", ""),
    "endless 100": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "nothing within 1 s", ""),
    "slow body": (slow_body, "nothing within 1 s, the --timeout of all steps", ""),
    "slow head": (slow_head, "nothing within 1 s", ""),
    "silence": (silent, "nothing within 1 s", ""),
    "reset": (reset, "the end of the connection", "if it serves TLS there, use wss://"),
    "no number": (raw(OK + b"Content-Length: x\r\n\r\n"), "a broken HTTP response", ""),
    "hostile status": (raw(b"HTTP/1.1 2\x1b[31m\r\n\r\n"), "a broken HTTP response", ""),
    "hostile field": (raw(OK + b"a: \x1b[31m\r\n\r\n"), "text of 0 bytes", "another server"),
    "hostile body": (raw(OK + b"\r\n" + HOSTILE_TEXT.encode()), "text of", "another server"),
    "redirect": (
        raw(b"HTTP/1.1 302 Found\r\nLocation: https://\x9b2Jx/\r\nContent-Length: 0\r\n\r\n"),
        r"HTTP 302, to https://\x9b2Jx/",
        "give the address that it leads to",
    ),
    "compressed": (
        raw(OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b"),
        "a compressed body (gzip)",
        "a proxy in front compresses",
    ),
    "bad gateway": (
        raw(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
        "HTTP 502",
        "a proxy in front cannot reach the relay: is it running",
    ),
    "gateway time-out": (
        raw(b"HTTP/1.1 504 Gateway Time-out\r\nContent-Length: 0\r\n\r\n"),
        "HTTP 504",
        "waits for the relay in vain",
    ),
    "no server at the proxy": (
        raw(b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/html\r\n\r\n<html>"),
        "HTTP 503",
        "a proxy in front answers so, which regards no relay as up",
    ),
    "TLS port of nginx": (
        raw(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n"),
        "HTTP 400",
        "if it serves TLS there, use wss://",
    ),
}


@pytest.mark.parametrize("name", OF_HTTP)
async def test_answers_that_are_no_health(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer, got, hint = OF_HTTP[name]
    seconds = "1" if got.startswith("nothing") else "45"
    async with broken_server(answer) as server:
        code, text = await probe(capsys, server.port, "--timeout", seconds)
    assert code == 1
    lines = text.splitlines()
    assert lines[0] == "FAIL healthz answers ok"
    assert got in lines[2]
    assert hint in (lines[3] if len(lines) == 4 else "")
    assert name == "endless 100" or server.sent < LET_SEND


OF_WEBSOCKETS: dict[str, tuple[Answer, str]] = {
    "a frame of 1 TB": (endless(b"\x81\x7f" + TERA, b"x"), "a message of more than 1048576 bytes"),
    "fragments": (
        endless(b"\x01\x05hello", b"\x00\x7e\x03\xe8" + b"x" * 1000),
        "a message of more than 1048576",
    ),
    "binary": (endless(b"\x02\x7f" + TERA, b"\0"), "a message of more than 1048576 bytes"),
    "no UTF-8": (raw(b"\x81\x02\xff\xff"), "bytes that are no frame"),
    "reserved": (raw(b"\xf3\x00"), "bytes that are no frame"),
    "a long ping": (raw(b"\x89\x7e\x01\x00" + bytes(256)), "bytes that are no frame"),
    "a close of one byte": (raw(b"\x88\x01\x03"), "bytes that are no frame"),
    "a hostile reason": (
        raw(b"\x88%c\x11\x94" % (2 + len(HOSTILE_TEXT.encode())) + HOSTILE_TEXT.encode()),
        r"close 4500 '\x1b]0;owned\x07\x1b[31m\x9b2J\u202e\u2066[bold]",
    ),
    "a hostile text": (
        raw(b"\x81%c" % len(HOSTILE_TEXT.encode()) + HOSTILE_TEXT.encode()),
        r"b'\x1b]0;owned\x07\x1b[31m",
    ),
    "empty fragments": (endless(b"\x01\x00", b"\x00\x00"), "nothing within"),
    "pings": (endless(b"", b"\x89\x00"), "nothing within"),
}


@pytest.mark.parametrize("name", OF_WEBSOCKETS)
async def test_frames_that_harm(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer, got = OF_WEBSOCKETS[name]
    seconds = "3" if got.startswith("nothing") else "45"
    async with broken_server(broken.healthy_then(answer)) as server:
        code, text = await probe(capsys, server.port, "--timeout", seconds)
    assert code == 1
    failed, _, instead, *_ = text[text.index("FAIL") :].splitlines()
    assert failed == "FAIL phone joins its binary" or got.startswith("nothing")
    assert got in instead
    assert got.startswith("nothing") or server.sent < LET_SEND


async def test_a_handshake_that_is_hostile(capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(conversation: Conversation) -> None:
        if conversation.path == "/healthz":
            await conversation.send(broken.HEALTHY)
        else:
            await raw(b"HTTP/1.1 101 x\r\nConnection: \x9b2J\r\nUpgrade: \x9b\r\n\r\n")(
                conversation
            )

    async with broken_server(answer) as server:
        code, text = await probe(capsys, server.port)
    assert code == 1
    assert "a broken handshake" in text


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (raw(b"\x16\x03\x03\xff\xff" + b"x" * 70000), "no TLS: "),
        (raw(b"SSH-2.0-\x1b[31m\r\n"), "no TLS: "),
        (raw(b""), "the end of the connection within the TLS handshake"),
        (reset, "the end of the connection within the TLS handshake"),
        (silent, "nothing within 1 s"),
    ],
    ids=["a broken record", "another protocol", "the end", "reset", "silence"],
)
async def test_broken_tls(answer: Answer, got: str, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = "1" if got.startswith("nothing") else "45"
    async with broken_server(answer, reads_head=False) as server:
        code, text = await probe(capsys, server.port, "--timeout", seconds, scheme="wss")
    assert code == 1
    _, _, instead, *hint = text.splitlines()
    assert got in instead
    if not got.startswith("nothing"):
        assert "if it serves plain HTTP there, use ws://" in hint[0]


def test_a_name_server_that_does_not_answer_holds_nothing_up() -> None:
    program = """
import socket, sys, threading
socket.getaddrinfo = lambda *a, **k: threading.Event().wait()
from fastrelay.cli import main
sys.exit(main(["probe", "ws://relay.example.org", "--timeout", "0.2"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "nothing within 0.2 s, the --timeout of all steps" in done.stdout


# -- the wrong scheme, a relay with small limits ---------------------------------------------------


async def test_plain_http_at_a_tls_port(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_relay(tls=local_certificate()) as relay:
        code, text = await probe(capsys, relay.port)
    assert code == 1
    assert text.splitlines()[3] == "  hint:     if it serves TLS there, use wss://"


async def test_tls_at_a_plain_port(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_relay() as relay:
        code, text = await probe(capsys, relay.port, scheme="wss")
    assert code == 1
    assert text.splitlines()[3] == "  hint:     if it serves plain HTTP there, use ws://"


async def test_a_relay_that_takes_smaller_messages(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_relay(limits={"message_bytes": 65_536}) as relay:
        code, text = await probe(capsys, relay.port)
    assert code == 1
    _, expected, got, hint = text[text.index("FAIL") :].splitlines()
    assert expected == "  expected: a message of 200000 bytes, passed on to the binary"
    assert got in {
        "  got:      close 1009 'message too big', for the phone",
        "  got:      the end of the connection, for the phone",  # a reset overtook the close frame
    }
    assert "--max-message-bytes smaller than that" in hint


async def test_a_full_relay_is_not_taken_for_a_proxy(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_relay(limits={"connections": 1}) as relay:
        await relay.binary()
        code, text = await probe(capsys, relay.port)
    assert code == 1
    assert "HTTP 503" in text
    assert "the relay has as many connections as it may (--max-connections" in text


# -- certificates, and another address -------------------------------------------------------------


async def test_the_expiry_of_the_certificate_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ca_file = str(authority().write(tmp_path / "ca.pem"))
    until = datetime.now(UTC) + timedelta(days=10)
    async with running_relay(tls=authority().issue(tmp_path, until=until)) as relay:
        code, text = await probe(capsys, relay.port, "--ca-file", ca_file, scheme="wss")
        assert code == 0
        assert re.search(
            r"; its certificate expires in (9\.9|10\.0) days, 2\S+Z$", text, re.MULTILINE
        )
        command = ["probe", f"wss://127.0.0.1:{relay.port}", "--ca-file", ca_file]
        command += ["--json", "--metrics-file", str(tmp_path / "x.prom")]
        assert await asyncio.to_thread(main, [*command, "--warn-days", "11"]) == 3
        output = capsys.readouterr()
        assert json.loads(output.out)["certificate_expires"] == f"{until:%Y-%m-%dT%H:%M:%SZ}"
        assert output.err.startswith("fastrelay probe: the certificate of wss://127.0.0.1:")
        assert output.err.count("\n") == 1
        assert "fastrelay_probe_certificate_expiry_timestamp_seconds{" in (
            (tmp_path / "x.prom").read_text()
        )
        assert await asyncio.to_thread(main, [*command, "--warn-days", "9"]) == 0
        assert capsys.readouterr().err == ""


async def test_another_address_under_the_name_of_the_url(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = authority().issue(tmp_path, "relay.example.org")
    ca_file = str(authority().write(tmp_path / "ca.pem"))
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.sni_callback = lambda tls, name, _: names.append(name)
    heads: list[bytes] = []

    async def answer(conversation: Conversation) -> None:
        heads.append(await conversation.reader.readuntil(b"\r\n\r\n"))
        await conversation.send(broken.HEALTHY)

    async with broken_server(answer, context, reads_head=False) as server:
        arguments = ["probe", "wss://relay.example.org", "--ca-file", ca_file, "--timeout", "15"]
        arguments += ["--connect-to", f"127.0.0.1:{server.port}"]
        assert await asyncio.to_thread(main, arguments) == 1  # it is no relay, but /healthz is good
    assert names[0] == "relay.example.org"
    assert b"\r\nhost: relay.example.org\r\n" in heads[0].lower()
    assert capsys.readouterr().out.startswith("ok   healthz answers ok")


async def test_a_certificate_for_another_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = authority().issue(tmp_path, "relay.example.org")
    ca_file = str(authority().write(tmp_path / "ca.pem"))
    async with running_relay(tls=files) as relay:
        code, text = await probe(capsys, relay.port, "--ca-file", ca_file, scheme="wss")
    assert code == 1
    assert "a certificate that is not trusted: IP address mismatch" in text
    assert "use the name that the certificate is for" in text


async def test_a_chain_without_its_intermediate_certificates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end is the same as with an authority that nobody knows."""
    async with running_relay(tls=authority().issue(tmp_path, "127.0.0.1")) as relay:
        code, text = await probe(capsys, relay.port, scheme="wss")
    assert code == 1
    assert "a certificate that is not trusted: unable to " in text
    assert "hint:     let the server send the whole chain (fullchain.pem)" in text


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--connect-to", "127.0.0.1"), "--connect-to is not HOST:PORT"),
        (("--connect-to", ":443"), "--connect-to is not HOST:PORT"),
        (("--connect-to", "u:p@a:443"), "--connect-to is not HOST:PORT"),
        (("--connect-to", "a:443/x"), "--connect-to is not HOST:PORT"),
        (("--connect-to", "a b:443"), "--connect-to is not HOST:PORT"),
        (("--warn-days", "3"), "--warn-days has no meaning with ws://"),
        (("--warn-days", "-1"), "'-1' is not a number"),
    ],
    ids=" ".join,
)
def test_refused(arguments: tuple[str, ...], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "ws://127.0.0.1:1", *arguments]) == 2
    first, _ = capsys.readouterr().err.splitlines()
    assert what in first


def test_printable() -> None:
    assert printable(HOSTILE_TEXT).isascii()
    assert printable("a\r\nb") == r"a\r\nb"
    assert printable("x" * 1000, 10) == "xxxxxxxxxx..."
    assert printable("\ud800") == r"\ud800"
