"""The live view on a terminal: what it shows, its keys, and that it puts the terminal back."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.cli import main
from tests.support.harness import START, relay_with_workers, running_relay
from tests.support.metrics_page import PREFIX, served_page
from tests.support.peer import client_frame
from tests.support.pseudo_terminal import PseudoTerminal, on_terminal
from tests.tools.test_probe_and_broken_servers import HOSTILE_TEXT

TOP = ("-m", "fastrelay", "top")
OFTEN = ("--interval", "0.1")


@pytest.fixture
def with_workers() -> Iterator[None]:
    token = START.set(relay_with_workers)
    yield
    START.reset(token)


async def test_a_relay_with_workers_fills_the_terminal(with_workers: None) -> None:
    async with running_relay(workers=2) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        url = f"http://127.0.0.1:{relay.metrics_port}/metrics"
        async with on_terminal(*TOP, url, *OFTEN, rows=50) as terminal:
            while "█" not in terminal.text:
                phone.send(client_frame(b'"traffic"') * 40)
                for _ in range(40):
                    await binary.text()
                await asyncio.sleep(0.01)
            await terminal.sees("connections, at most 2")
            lines = terminal.lines
            assert "binaries 1  phones 1" in lines[0]
            assert "?1049" in terminal.modes
            assert "?25" not in terminal.modes
            (heading,) = (at for at, line in enumerate(lines) if line.startswith("worker "))
            assert [line.split()[:2] for line in lines[heading + 1 : heading + 3]] == [
                ["0", "yes"],
                ["1", "yes"],
            ]
            assert any(line.startswith("attempts") and "total" in line for line in lines)
            assert any(line.startswith("messages/s, at most ") for line in lines)
            assert lines[-1].startswith("q quit   p pause   +/- interval   ? help")
            terminal.type("q")
            assert await terminal.end() == 0
            assert terminal.is_restored
            assert not terminal.strays


async def test_it_goes_on_while_the_relay_restarts() -> None:
    async with served_page() as page:
        page.begin(frames=1_000_000)
        async with on_terminal(*TOP, page.url, *OFTEN) as terminal:
            await terminal.sees("a look every 0.1 s")
            page.down = True
            await terminal.sees("not reachable since ")
            assert "retrying: the end of the connection" in terminal.text
            assert "binaries 3  phones 4" in terminal.text  # what was known last
            page.down = False
            await terminal.until(lambda: "not reachable" not in terminal.text)
            assert "restarted" not in terminal.text  # it is the same relay
            page.begin(frames=10)
            await terminal.sees("restarted, seen at ")
            await page.next_look(of=2)
            up = next(line for line in terminal.lines if line.startswith("up "))
            assert up.split()[1] == "0/s"
            terminal.type("q")
            assert await terminal.end() == 0


async def test_keys() -> None:
    async with served_page() as page:
        async with on_terminal(*TOP, page.url, "--interval", "0.5") as terminal:
            await terminal.sees("a look every 0.5 s")
            terminal.type("+")
            await terminal.sees("a look every 1 s")
            terminal.type("--")
            await terminal.sees("a look every 0.2 s")
            terminal.type("-----")
            await terminal.sees("a look every 0.1 s")
            terminal.type(" ")
            await terminal.sees("paused")
            looks = page.looks
            for _ in range(20):
                terminal.type("\x1b[A")  # an arrow, which means nothing here
                terminal.type("?")
                await terminal.sees("q          quit (Ctrl-C and SIGTERM do the same)")
                terminal.type("h")
                await terminal.until(lambda: "Ctrl-Z" not in terminal.text)
            assert page.looks <= looks + 1  # one may have been under way
            terminal.type("p")
            await terminal.sees("a look every 0.1 s")
            await page.next_look()
            terminal.type("q")
            assert await terminal.end() == 0


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGHUP", "Ctrl-C"])
async def test_the_terminal_is_put_back(how: str) -> None:
    async with served_page() as page:
        async with on_terminal(*TOP, page.url, *OFTEN) as terminal:
            await terminal.sees("binaries 3")
            assert not terminal.is_restored
            if how == "Ctrl-C":
                terminal.type("\x03")
            else:
                terminal.process.send_signal(signal.Signals[how])
            assert await terminal.end() == 0
            assert terminal.is_restored


async def test_the_terminal_is_put_back_before_a_traceback() -> None:
    program = """
import sys
from fastrelay.tools.top.live import Live
from fastrelay.cli import main
async def broken(self):
    raise RuntimeError("on purpose")
Live._look_once = broken
sys.exit(main(["top", sys.argv[1], "--interval", "0.1"]))
"""
    async with served_page() as page:
        async with on_terminal("-c", program, page.url) as terminal:
            assert terminal.process.stderr is not None
            assert b"on purpose" in await terminal.process.stderr.read()
            assert await terminal.end() == 1
            assert terminal.is_restored


def state_of(terminal: PseudoTerminal) -> str:
    """``T`` for a process that is stopped."""
    return Path(f"/proc/{terminal.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_it_can_be_stopped_and_goes_on() -> None:
    async with served_page() as page:
        async with on_terminal(*TOP, page.url, *OFTEN) as terminal:
            await terminal.sees("binaries 3")
            terminal.process.send_signal(signal.SIGTSTP)
            await terminal.until(lambda: state_of(terminal) == "T")
            await terminal.until(lambda: terminal.is_restored)
            terminal.process.send_signal(signal.SIGCONT)
            await terminal.until(lambda: "?1049" in terminal.modes)
            await terminal.sees("binaries 3")
            terminal.type("q")
            assert await terminal.end() == 0
            assert terminal.is_restored


async def test_another_size() -> None:
    async with served_page() as page:
        async with on_terminal(*TOP, page.url, "--interval", "300", rows=40) as terminal:
            await terminal.until(lambda: terminal.lines[39].startswith("q quit"))
            terminal.resize(60, 12)
            await terminal.until(lambda: terminal.lines[11].startswith("q quit"))
            terminal.resize(3, 1)
            await terminal.until(lambda: terminal.lines[0] == "q q")
            terminal.type("q")
            assert await terminal.end() == 0


async def test_a_terminal_that_goes_away_ends_it() -> None:
    async with served_page() as page:
        async with on_terminal(*TOP, page.url, *OFTEN) as terminal:
            await terminal.sees("binaries 3")
            asyncio.get_running_loop().remove_reader(terminal.master)
            os.close(terminal.slave)
            os.close(terminal.master)
            async with asyncio.timeout(20):
                _, errors = await terminal.process.communicate()
            assert terminal.process.returncode in {0, 1}
            assert b"Traceback" not in errors


async def test_a_hostile_page_draws_nothing_of_its_own() -> None:
    label = HOSTILE_TEXT.replace("\\", "\\\\")
    async with served_page() as page:
        page.begin(
            more=f'{PREFIX}worker_up{{worker="{label}"}} 1\n'
            f'{PREFIX}refusals_total{{reason="{label}"}} 5\n'
            f'{PREFIX}connections_closed_total{{side="{label}",cause="[/b]",code="x"}} 5\n'
        )
        page.text = page.text.replace("9.9", label)
        async with on_terminal(*TOP, page.url, *OFTEN) as terminal:
            await terminal.sees("refused")
            await terminal.sees(r"\x1b]0;owned")
            assert "fastrelay \\x1b" in terminal.lines[0]
            terminal.type("q")
            assert await terminal.end() == 0
            assert not terminal.strays


async def test_a_terminal_that_does_not_know_its_size() -> None:
    async with served_page() as page:
        async with on_terminal(*TOP, page.url, *OFTEN, columns=0, rows=0) as terminal:
            terminal.columns, terminal.rows = 80, 24
            await terminal.until(lambda: terminal.lines[23].startswith("q quit"))
            terminal.type("q")
            assert await terminal.end() == 0


async def test_without_a_terminal_it_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert await asyncio.to_thread(main, ["top"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "stdout is none" in first
    assert "--once" in second
