"""``fastrelay top`` against servers and pages that are broken, or that mean to harm."""

import asyncio
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from fastrelay.cli import main
from fastrelay.tools.top import figures
from fastrelay.tools.top.scrape import Scrape, ScrapeDelta, parse
from fastrelay.tools.top.view import View
from tests.support import broken_server as broken
from tests.support.broken_server import Answer, broken_server, endless, raw
from tests.support.certificates import authority, local_certificate
from tests.support.metrics_page import PREFIX, served_page
from tests.tools.test_probe_and_broken_servers import (
    HOSTILE_TEXT,
    OK,
    reset,
    silent,
    slow_body,
    slow_head,
)

LET_SEND = 12 * broken.MIB
"""What a server may send before top has given up; some of it lies in kernel buffers."""

TIMED_OUT = "no whole answer within 1 s"

BROKEN: dict[str, tuple[Answer, str]] = {
    "endless body": (endless(OK + b"\r\n", b"x"), "HTTP 200 with more than 2097152 bytes"),
    "endless samples": (
        endless(OK + b"\r\n", f'{PREFIX}x{{a="b"}} 1\n'.encode()),
        "HTTP 200 with more than 2097152 bytes",
    ),
    "endless field": (endless(OK + b"a: ", b"x"), "a broken HTTP response"),
    "endless trailers": (endless(broken.CHUNKED + b"0\r\n", b"a: b\r\n"), "a broken HTTP response"),
    "slow body": (slow_body, TIMED_OUT),
    "slow head": (slow_head, TIMED_OUT),
    "silence": (silent, TIMED_OUT),
    "reset": (reset, "the end of the connection; if it serves TLS there, use https://"),
    "half a body": (raw(OK + b"Content-Length: 9\r\n\r\nx"), "a broken HTTP response"),
    "compressed": (raw(OK + b"Content-Encoding: br\r\n\r\nx"), "a compressed body (br)"),
    "redirect": (raw(b"HTTP/1.1 302 x\r\nContent-Length: 0\r\n\r\n"), "HTTP 302; is a relay"),
    "TLS": (raw(b"\x15\x03\x01\x00\x02\x02\x0a"), "TLS, and no HTTP; use https://"),
    "another page": (raw(OK + b"\r\nup 1\n" + HOSTILE_TEXT.encode()), "no relay's metrics page"),
    "an empty page": (raw(OK + b"\r\n"), "this is no relay's metrics page"),
    "no text": (raw(OK + b"\r\n" + bytes(range(256))), "this is no relay's metrics page"),
}


async def once(capsys: pytest.CaptureFixture[str], url: str, *more: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr; the command must end by itself."""
    async with asyncio.timeout(60):
        code = await asyncio.to_thread(main, ["top", url, "--once", "--interval", "0.1", *more])
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.mark.parametrize("name", BROKEN)
async def test_a_server_that_is_broken(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer, found = BROKEN[name]
    seconds = "1" if found == TIMED_OUT else "45"
    async with broken_server(answer) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        code, out, err = await once(capsys, url, "--timeout", seconds)
    assert (code, out) == (1, "")
    assert err.startswith(f"fastrelay top: {url}: ")
    assert found in err
    assert err.count("\n") == 1
    assert err.rstrip("\n").isprintable()
    assert server.sent < LET_SEND


def test_a_name_server_that_does_not_answer_holds_nothing_up() -> None:
    program = """
import socket, sys, threading
socket.getaddrinfo = lambda *a, **k: threading.Event().wait()
from fastrelay.cli import main
sys.exit(main(["top", "http://relay.example.org", "--once", "--timeout", "0.2"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "no whole answer within 0.2 s" in done.stderr


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("127.0.0.1:9090", "does not begin with http://"),
        ("file:///etc/passwd", "does not begin with http://"),
        ("http://u:hunter2@a/metrics", "more than a scheme"),
        ("http://a/\u202e", "need %-escapes"),
        ("http://a:0/", "no HOST:PORT"),
    ],
)
def test_urls_that_make_no_sense(url: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", url, "--once"]) == 2
    err = capsys.readouterr().err
    assert what in err.splitlines()[0]
    assert "hunter2" not in err


async def test_a_page_behind_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ca_file = authority().write(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = local_certificate()
    context.load_cert_chain(files.certificate, files.key)
    async with served_page(context) as page:
        url = page.url.replace("http:", "https:")
        code, _, err = await once(capsys, url)
        assert code == 1
        assert "a certificate that is not trusted" in err
        assert "--ca-file FILE trusts a private CA" in err
        code, out, err = await once(capsys, url, "--ca-file", str(ca_file))
        assert (code, err) == (0, "")
        assert "binaries 3  phones 4" in out


async def test_proxies_of_the_environment_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with served_page() as page:
        code, out, _ = await once(capsys, page.url)
    assert code == 0
    assert "binaries 3  phones 4" in out


@pytest.mark.parametrize("place", ["/dev/full", "latin-1"])
async def test_once_into_something_that_does_not_take_it(place: str) -> None:
    async with served_page() as page:
        descriptor = os.open("/dev/full" if place == "/dev/full" else os.devnull, os.O_WRONLY)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "fastrelay", "top", page.url, "--once"),
                *("--interval", "0.1"),
                stdout=descriptor,
                stderr=subprocess.PIPE,
                env=os.environ | {"PYTHONIOENCODING": "latin-1"},
            )
        finally:
            os.close(descriptor)
        _, errors = await process.communicate()
    if place == "/dev/full":
        assert process.returncode == 1
        assert errors.startswith(b"fastrelay top: cannot write to stdout: No space left on device")
        assert errors.count(b"\n") == 1
    else:
        assert (process.returncode, errors) == (0, b"")


# -- samples that are odd --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "x 1",
        f"{PREFIX}x",
        f"{PREFIX}x ",
        f"{PREFIX}x NaN",
        f"{PREFIX}x +Inf",
        f"{PREFIX}x -1",
        f"{PREFIX}x 1e300",
        f"{PREFIX}x one",
        f"{PREFIX}x 1 2 3",
        f'{PREFIX}x{{a="b" 1',
        f'{PREFIX}x{{a="b}} 1',
        f"{PREFIX}x{{a=b}} 1",
        f'{PREFIX}x{{a="b"c="d"}} 1',
        f'{PREFIX}x{{a="b",a="c"}} 1',
        f'{PREFIX}x{{a="{"b" * 1000}"}} 1',
        f"{PREFIX}x\u0663 1",
    ],
)
def test_lines_that_are_no_samples(line: str) -> None:
    assert parse(f"{line}\n{PREFIX}good 2\n") == {(f"{PREFIX}good", ()): 2.0}


def test_lines_that_are_samples() -> None:
    page = (
        f"# HELP {PREFIX}a b\r\n{PREFIX}a 1e3\r\n"
        f'{PREFIX}b{{y="2",x="a\\\\b\\"c\\nd}} 1"}} 0.5\n{PREFIX}b{{x="1",}} 7\n{PREFIX}a 5'
    )
    assert parse(page) == {
        (f"{PREFIX}a", ()): 1000.0,  # the first of two
        (f"{PREFIX}b", (("x", 'a\\b"c\nd} 1'), ("y", "2"))): 0.5,
        (f"{PREFIX}b", (("x", "1"),)): 7.0,
    }


ODD = (
    f"{PREFIX}build_info 1\n",
    f"{PREFIX}connected_phones 1e18\n{PREFIX}connected_binaries -3\n",
    f"{PREFIX}ws_upgrade_attempts_total 3\n",
    f'{PREFIX}ws_upgrade_attempts_total{{endpoint="x"}} 3\n',
    f'{PREFIX}ws_upgrade_attempts_total{{endpoint="{HOSTILE_TEXT}",outcome="[red]"}} 3\n',
    f'{PREFIX}frames_dropped_total{{direction="?",reason=""}} 1e17\n',
    f'{PREFIX}event_loop_lag_seconds_bucket 1\n{PREFIX}event_loop_lag_seconds_bucket{{le=""}} 5\n',
    f'{PREFIX}event_loop_lag_seconds_bucket{{le="nan"}} 5\n',
    f'{PREFIX}event_loop_lag_seconds_bucket{{le="-1"}} 5\n',
    f'{PREFIX}event_loop_lag_seconds_bucket{{le="1",x="y"}} 5\n',
    "".join(f'{PREFIX}worker_up{{worker="{number}"}} 1\n' for number in range(500)),
    f'{PREFIX}worker_up{{worker="\u202e"}} 0\n{PREFIX}worker_loop_lag_seconds{{worker="0"}} 1e18\n',
    f"process_start_time_seconds 1e18\n{PREFIX}phone_backlog_bytes 1e18\n",
)


@pytest.mark.parametrize("page", ODD, ids=range(len(ODD)))
def test_odd_pages_can_be_shown(page: str) -> None:
    before, after = Scrape(1.0, parse(ODD[0])), Scrape(1.001, parse(page))
    view = View("http://relay", 1.0)
    for first, second in ((before, after), (after, before), (after, after)):
        view.add(ScrapeDelta(first, second))
        plain = view.plain()
        assert all(len(line) <= 80 and line.isprintable() for line in plain.splitlines())
        view.history.add_gap()
        for width in (1, 2, 40, 80, 120, 200):
            for height in (1, 2, 3, 10, 24, 40, 70):
                lines = view.screen(width, height)
                assert len(lines) == height
                for line in lines:
                    assert len(line.plain) <= width
                    assert line.plain.isprintable()


def test_too_many_workers_are_counted() -> None:
    page = Scrape(1.0, parse(ODD[10]))
    view = View("http://relay", 1.0)
    view.add(ScrapeDelta(page, page))
    shown = "\n".join(line.plain for line in view.screen(80, 40))
    more = 500 - sum(line.split()[1:2] == ["yes"] for line in shown.splitlines())
    assert f"... and {more} more" in shown


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.04, "0.0"),
        (12.34, "12.3"),
        (1234.5, "1234"),
        (99_999, "99999"),
        (123_456, "123.5k"),
        (1e9, "1000M"),
        (1e18, "1000P"),
        (1e21, "huge"),
    ],
)
def test_counts(number: float | None, text: str) -> None:
    assert figures.count(number) == text
    assert len(text) <= 6


def test_other_figures() -> None:
    assert [figures.size(number) for number in (None, 0, 1536, 3 * 2**40, 1e18)] == [
        "–",
        "0 B",
        "1.5 KiB",
        "3.0 TiB",
        "888 PiB",
    ]
    assert [figures.milliseconds(number) for number in (None, 0.00012, 0.25, 90)] == [
        "–",
        "0.12 ms",
        "250 ms",
        "90 s",
    ]
    assert [figures.duration(number) for number in (61, 7260, 200_000)] == [
        "1 min 1 s",
        "2 h 1 min",
        "2 d 7 h",
    ]
    assert figures.chart([0, 8, None, 16], 2) == ["   █", "▁█ █"]
