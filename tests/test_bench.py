"""The benchmarks run, see what is wrong, and leave nothing when they are interrupted."""

import contextlib
import importlib
import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.__main__ import COMMANDS
from bench.compare.contenders import FLOORS, NAMES, Contender, workshop
from bench.compare.measure import Comparison, Pace
from bench.compare.plan import DUELS, SMALL, TARGETS
from bench.compare.report import DOCS, summary, write
from bench.compare.results import Results
from bench.compare.tail import EVERYTHING, QUIET, UNTAMED, measure_tail, table
from bench.load.idle import PHONES
from bench.support.generator import Failed, Generator
from bench.support.machine import describe
from bench.support.meter import measure
from bench.support.relay import OURS, Relay, running
from tests.support.process import marked
from tests.support.programs import needs

SHORT = {"conns": 2, "size": 300, "window": 1, "rate": 0.0, "seconds": 0.1}
TINY = Pace(1, 0.05, 0.1, 1, 32, (16, 32, 48), 36, 0.4, 16, 100)


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """``python -m bench`` to its end."""
    command = (sys.executable, "-m", "bench", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@contextlib.contextmanager
def contender(name: str) -> Iterator[Contender]:
    """One that runs, or a skip that says why not."""
    if name.startswith("go"):
        needs("go", "golang-go")
    if name == "haproxy":
        needs("haproxy", "haproxy")
    with workshop() as shop:
        assert not shop.why_absent(name)
        with shop.start(name) as started:
            yield started


def test_without_a_name_all_commands_are_listed() -> None:
    listed = bench()
    assert listed.returncode == 2
    for name, (_, what) in COMMANDS.items():
        assert f"  {name} " in listed.stderr
        assert what in listed.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        importlib.import_module(COMMANDS[name][0]).main(["--help"])
    assert end.value.code == 0
    assert f"python -m bench {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["fastrelay", "fastrelay tls"])
def test_loads_measure_a_relay(name: str) -> None:
    with contender(name) as started:
        generator = started.generator
        found = generator.run("roundtrip", **{**SHORT, "size": 70_000, "window": 3})
        assert found["cpu"] > 0
        assert 0 < found["p50"] <= found["p99"] <= found["p999"] <= found["longest"]
        assert generator.run("up", **{**SHORT, "window": 8})["rate"] > 0
        assert generator.run("down", **{**SHORT, "window": 2})["rate"] > 0
        assert 200 < generator.run("roundtrip", **{**SHORT, "rate": 400.0})["rate"] < 600
        homes = 4
        idle = generator.run("connect", count=homes * (PHONES + 1))
        assert idle["cpu_upgrade"] > 0
        samples = started.relay.scrape()
        assert samples["pyrycode_relay_connected_phones"] == homes * PHONES
        generator.run("churn", rate=50.0, seconds=0.1)
        assert generator.run("storm")["upgrades"] > 0
        accepted = 'pyrycode_relay_ws_upgrade_attempts_total{endpoint="client",outcome="accept"}'
        grown = started.relay.scrape()[accepted] - samples[accepted]
        assert grown == 5 + homes * PHONES
        assert generator.run("drop")["dropped"] == homes * (PHONES + 1)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"fastrelay", "fastrelay tls", "go tls"}))
def test_peers_relay_as_ours_does(name: str) -> None:
    with contender(name) as started:
        assert started.generator.run("roundtrip", **SHORT)["rate"] > 0
        if name not in FLOORS:
            assert started.generator.run("down", **SHORT)["rate"] > 0
            assert started.generator.run("connect", count=PHONES + 1)["held"] == PHONES + 1


def test_a_wrong_reply_is_an_error() -> None:
    with (
        running(OURS.replace("-m fastrelay", "-m tests.support.rewriting_relay")) as relay,
        Generator(relay) as generator,
        pytest.raises(Failed, match="other bytes"),
    ):
        generator.run("roundtrip", **{**SHORT, "seconds": 2.0})


def test_an_idle_connection_that_is_closed_is_an_error() -> None:
    with running() as relay, Generator(relay) as generator:
        generator.run("connect", count=4)
        os.kill(relay.pid, signal.SIGTERM)
        while _state(relay.pid) != b"Z":
            time.sleep(0.01)
        with pytest.raises(Failed, match="4 idle connections were closed"):
            generator.run("connect", count=1)


def _state(pid: int) -> bytes:
    """One letter: R, S, … or Z once it has ended and nobody has asked how."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]


def test_the_meter_reads_this_process() -> None:
    before = measure(os.getpid())
    sum(number * number for number in range(300_000))
    after = measure(os.getpid())
    assert after.cpu > before.cpu
    assert after.resident > 1_000_000
    with Path("/dev/null").open():
        assert measure(os.getpid()).descriptors == after.descriptors + 1


def test_every_target_of_a_duel_is_measured() -> None:
    fought = {
        (duel.load.label, duel.ours, duel.theirs) for duels in DUELS.values() for duel in duels
    }
    ratios = {(target.load, target.ours, target.theirs) for target in TARGETS if target.theirs}
    assert {ratio for ratio in ratios if ratio[0] not in {"idle", "scaling"}} <= fought


def test_a_target_is_judged_by_the_median_of_pairs(tmp_path: Path) -> None:
    results = Results()
    for ours, theirs in ((2e-5, 1e-5), (9e-5, 3e-5), (5e-5, 1e-5)):
        pair = ("fastrelay", {"cpu": ours}), ("haproxy", {"cpu": theirs})
        results.add_pair(SMALL.label, *pair)
    text, met = summary(results, 1.0)
    assert not met
    assert "| 16 x 256 B x 1 | 1.6 (then 1.3) | 3 | 2–5 (3) | **missed** |" in text
    assert text.count("not measured") == len(TARGETS) - 1
    assert "| 16 x 256 B x 1 | fastrelay | 50.0 |" in text
    assert describe() in text
    for _ in range(10):
        results.add_pair(SMALL.label, ("fastrelay", {"cpu": 1e-5}), ("haproxy", {"cpu": 1e-5}))
    assert summary(results, 1.0)[1]
    page = tmp_path / "performance.md"
    page.write_text((DOCS / "performance.md").read_text())
    write(results, text, tmp_path)
    assert text in page.read_text()
    assert page.read_text().startswith("# Performance\n")
    assert "fastrelay / haproxy" in (tmp_path / "performance.json").read_text()
    for name in ("cpu", "sizes"):
        assert (tmp_path / "images" / f"{name}.png").stat().st_size > 10_000


def test_crowds_and_storms_are_measured() -> None:
    results = Results()
    with workshop() as shop:
        comparison = Comparison(shop, results, TINY, peers=("pipe",))
        for section in ("idle", "scaling", "storm"):
            comparison.run(section)
    text, _ = summary(results, 1.0)
    missing = [line for line in text.splitlines() if "not measured" in line]
    # Not the bytes of the last against the first: so few may fit in pages that are there.
    wanted = ("bytes an idle connection", "10,000 idle beside")
    assert not [line for line in missing if any(word in line for word in wanted)]
    assert "Reconnect storm, 36 connections" in text


def test_the_tail_is_measured() -> None:
    results = Results()
    with workshop() as shop:
        measure_tail(shop, results, connections=9, rounds=1, seconds=0.2)
    rows = [line.split(" | ")[0] for line in table(results).splitlines()[2:]]
    assert rows == [f"| {name}" for name in (QUIET, EVERYTHING, UNTAMED)]
    assert results.middle("tail", EVERYTHING, "p999")


def test_compare_takes_any_relay_by_command() -> None:
    relay = f"{shlex.quote(sys.executable)} -m fastrelay --insecure-listen 127.0.0.1:{{port}}"
    relay += " --metrics-listen '' --upgrade-burst 0"
    short = ("--quick", "--rounds", "1", "--seconds", "0.05")
    run = bench(*("compare", *short, "--only", "roundtrip", "--against", "pipe", "--relay", relay))
    assert run.returncode == 0, run.stderr  # no target is measured, so none is missed
    assert "| CPU a round trip, µs | fastrelay | external | ratio |" in run.stdout
    assert "| 16 x 256 B x 1 | pipe |" in run.stdout
    assert " round 1 of 1" in run.stderr


def test_load_measures_a_relay_that_runs() -> None:
    with running() as relay:
        where = ("--port", str(relay.port), "--pid", str(relay.pid))
        run = bench("load", "down", *where, "--conns", "1", "--seconds", "0.1")
    assert run.returncode == 0, run.stderr
    assert "cpu " in run.stdout
    assert "Python " in run.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_no_process(number: signal.Signals, code: int) -> None:
    mark = f"BENCH_TEST_{uuid.uuid4().hex}"
    run = subprocess.Popen(
        (sys.executable, "-m", "bench", "compare", "--only", "roundtrip", "--against", "pipe"),
        env={**os.environ, mark: "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stderr is not None
    with run:
        lines = iter(run.stderr)
        while " x 256 B x 1 " not in next(lines):  # a turn is over: all of them run
            pass
        assert len(marked(mark)) >= 5
        os.killpg(run.pid, number)  # as a terminal does
        assert "Traceback" not in run.stderr.read()
        assert run.wait(30) == code
    deadline = time.monotonic() + 5
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.02)  # the kernel may still be putting one away
    assert marked(mark) == []


def test_a_relay_that_does_not_start_is_said(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m fastrelay --insecure-listen nowhere"
    with pytest.raises(RuntimeError, match="--insecure-listen"), running(command, tmp_path / "log"):
        pass
    assert Relay(1, 2).metrics_port == 0
