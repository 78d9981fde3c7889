"""The live view, on a real relay."""

import asyncio
import re
import shlex
import sys

import pytest

from bench.support.ports import free_port
from fastrelay.cli import main
from fastrelay.tools.top import sections
from fastrelay.tools.top.figures import sparkline
from fastrelay.tools.top.scrape import Scrape, ScrapeDelta
from tests.support.harness import running_relay
from tests.support.peer import client_frame

NAME = "pyrycode_relay_event_loop_lag_seconds"


async def test_once_shows_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_relay() as relay:
        binary, phone = await relay.binary(), await relay.phone()
        url = f"http://127.0.0.1:{relay.metrics_port}/metrics"
        shown = asyncio.create_task(asyncio.to_thread(main, ["top", url, "--once"]))
        while not shown.done():
            phone.send(client_frame(b'"traffic"') * 40)
            for _ in range(40):
                await binary.text()
            await (await relay.binary("passing by")).close()
            await asyncio.sleep(0.01)
        assert await shown == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert re.search(r"  binaries [12]  phones 1$", lines[0])  # one is passing by
    (up,) = (line for line in lines if line.startswith("up "))
    assert int(up.split()[1].removesuffix("/s")) > 10
    assert "█" in up
    text = "\n".join(lines)
    assert re.search(r"^p99 time +up ≤ [\d.]+ ms +down – +loop lag (≤|–)", text, re.MULTILINE)
    assert re.search(r"^ended/s +binary peer_lost \d", text, re.MULTILINE)
    for part in ("server accept", "client accept", "client upgrade", "memory", "none since"):
        assert part in text


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", f"http://127.0.0.1:{free_port()}/metrics", "--once"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "connection refused: nothing listens there" in line
    assert "--metrics-listen" in line


async def test_somebody_else_there(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_relay() as relay:
        url = f"http://127.0.0.1:{relay.port}"
        assert await asyncio.to_thread(main, ["top", f"{url}/healthz", "--once"]) == 1
        assert await asyncio.to_thread(main, ["top", f"{url}/nothing", "--once"]) == 1
    errors = capsys.readouterr().err
    assert "no relay's metrics page" in errors
    assert "HTTP 404" in errors


@pytest.mark.parametrize("arguments", [["--interval", "0"], ["one", "two"], ["--nonsense"]])
def test_refusals(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["top", "--once"]) == 2
    pip = f"{shlex.quote(sys.executable)} -m pip"
    assert f"{pip} install 'PATH[top]'" in capsys.readouterr().err


def test_rates_and_quantiles() -> None:
    def look(moment: float, frames: float, quick: float, slow: float) -> Scrape:
        lag = f"{NAME}_bucket"
        return Scrape(
            moment,
            {
                ("frames", (("direction", "up"),)): frames,
                (lag, (("le", "0.001"),)): quick,
                (lag, (("le", "0.5"),)): quick + slow,
                (lag, (("le", "+Inf"),)): quick + slow,
            },
        )

    delta = ScrapeDelta(look(10, 100, 50, 0), look(12, 150, 90, 10))
    assert delta.rate("frames", direction="up") == 25
    assert delta.rate("frames", direction="down") == 0
    assert delta.quantile(NAME, 0.5) == 0.001
    assert delta.quantile(NAME, 0.99) == 0.5
    assert delta.quantile(NAME, 0.99, direction="up") == 0
    assert ScrapeDelta(look(10, 100, 5, 0), look(12, 3, 5, 0)).rate("frames", direction="up") == 0
    assert ScrapeDelta(look(10, 0, 5, 0), look(12, 0, 5, 0)).quantile(NAME, 0.5) == 0


def test_a_restart_is_told_from_an_outage() -> None:
    start, frames = "process_start_time_seconds", "pyrycode_relay_frames_forwarded_total"
    first = Scrape(1, {(start, ()): 1000.0, (frames, ()): 5.0, ("process_open_fds", ()): 9.0})
    same = Scrape(9, {(start, ()): 1000.0, (frames, ()): 5.0, ("process_open_fds", ()): 3.0})
    back = Scrape(9, {(start, ()): 1000.0, (frames, ()): 4.0})
    later = Scrape(9, {(start, ()): 1001.0, (frames, ()): 500.0})
    assert not ScrapeDelta(first, same).restarted
    assert ScrapeDelta(first, back).restarted
    assert ScrapeDelta(first, later).restarted


def test_sparklines() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([0, 50, 100]) == "▁▄█"


@pytest.mark.parametrize("width", [50, 80, 200])
def test_no_outcome_is_cut(width: int) -> None:
    """The longest names are those of refusals, and their rates are behind them."""
    name = "pyrycode_relay_ws_upgrade_attempts_total"
    outcomes = ("accept", "reject_409", "reject_headers", "reject_rate_limit")
    series = [(side, outcome) for side in ("server", "client") for outcome in outcomes]

    def look(moment: float) -> Scrape:
        return Scrape(
            moment,
            {
                (name, (("endpoint", side), ("outcome", outcome))): moment * (number + 1)
                for number, (side, outcome) in enumerate(series)
            },
        )

    delta = ScrapeDelta(look(10), look(12))
    short = sections.events(delta, width)
    assert all(len(line) <= width for line in short)
    text, table = "\n".join(short), "\n".join(sections.outcomes(delta, width))
    for number, (side, outcome) in enumerate(series):
        assert f"{side} {outcome} {number + 1}" in text
        assert re.search(rf"{side} {outcome} +{number + 1} +{12 * (number + 1)}\b", table)
