"""The benchmarks run, see what is wrong, and leave nothing when they are interrupted."""

import contextlib
import importlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastrelay
from bench.__main__ import COMMANDS, NEEDED
from bench.__main__ import main as bench_main
from bench.compare.contenders import FLOORS, NAMES, Contender, workshop
from bench.compare.figures import FIGURES, shown
from bench.compare.instructions import count_instructions
from bench.compare.measure import Comparison, Pace
from bench.compare.plan import DUELS, SMALL, TARGETS
from bench.compare.ratios import median_interval
from bench.compare.ratios import table as ratio_table
from bench.compare.report import DOCS, summary, write
from bench.compare.results import Results
from bench.compare.tail import EVERYTHING, QUIET, UNTAMED, measure_tail, table
from bench.load import command as load_command
from bench.load.idle import PHONES
from bench.support.generator import Failed, Generator
from bench.support.machine import describe
from bench.support.meter import measure
from bench.support.relay import OURS, Relay, running
from bench.unchanged.measure import BASE, THIS, Checkouts
from tests.support.command import started
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fastrelay", "fastrelay tls"])
def test_loads_measure_a_relay(name: str) -> None:
    with contender(name) as started:
        generator = started.generator
        found = generator.run("roundtrip", **{**SHORT, "size": 70_000, "window": 3})
        assert found["cpu"] > 0
        assert 0 < found["p50"] <= found["p99"] <= found["p999"] <= found["longest"]
        assert generator.run("up", **{**SHORT, "window": 8})["rate"] > 0
        assert generator.run("down", **{**SHORT, "window": 2})["rate"] > 0
        assert 0 < generator.run("roundtrip", **{**SHORT, "rate": 400.0})["rate"] < 600
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


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*NAMES} - {"fastrelay", "fastrelay tls", "go tls"}))
def test_peers_relay_as_ours_does(name: str) -> None:
    with contender(name) as started:
        assert started.generator.run("roundtrip", **SHORT)["rate"] > 0
        if name not in FLOORS:
            assert started.generator.run("down", **SHORT)["rate"] > 0
            assert started.generator.run("connect", count=PHONES + 1)["held"] == PHONES + 1


@pytest.mark.slow
def test_a_wrong_reply_is_an_error() -> None:
    with (
        running(OURS.replace("-m fastrelay", "-m tests.support.rewriting_relay")) as relay,
        Generator(relay) as generator,
        pytest.raises(Failed, match="other bytes"),
    ):
        generator.run("roundtrip", **{**SHORT, "seconds": 2.0})


@pytest.mark.slow
def test_an_idle_connection_that_is_closed_is_an_error() -> None:
    with running() as relay, Generator(relay) as generator:
        generator.run("connect", count=4)
        os.kill(relay.pid, signal.SIGTERM)
        while _state(relay.pid) != b"Z":
            time.sleep(0.01)
        with pytest.raises(Failed, match="4 idle connections were closed"):
            generator.run("connect", count=1)


def _state(pid: int) -> bytes:
    """One letter: R, S, … or Z once it has ended and its exit code has not been read."""
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_tail_is_measured() -> None:
    results = Results()
    with workshop() as shop:
        measure_tail(shop, results, connections=9, rounds=1, seconds=0.2)
    rows = [line.split(" | ")[0] for line in table(results).splitlines()[2:]]
    assert rows == [f"| {name}" for name in (QUIET, EVERYTHING, UNTAMED)]
    assert results.middle("tail", EVERYTHING, "p999")


@pytest.mark.slow
def test_compare_takes_any_relay_by_command() -> None:
    relay = f"{shlex.quote(sys.executable)} -m fastrelay --insecure-listen 127.0.0.1:{{port}}"
    relay += " --metrics-listen '' --upgrade-burst 0"
    short = ("--quick", "--rounds", "1", "--seconds", "0.05")
    run = bench(*("compare", *short, "--only", "roundtrip", "--against", "pipe", "--relay", relay))
    assert run.returncode == 0, run.stderr  # no target is measured, so none is missed
    assert "| CPU a round trip, µs | fastrelay | external | ratio |" in run.stdout
    assert "| 16 x 256 B x 1 | pipe |" in run.stdout
    assert " round 1 of 1" in run.stderr


@pytest.mark.slow
def test_load_measures_a_relay_that_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load_command, "_FILE_EVERY", 0.01)
    with running() as relay:
        where = ("--port", str(relay.port), "--pid", str(relay.pid))
        code = load_command.main(["down", *where, "--conns", "1", "--seconds", "0.1"])
    shown = capsys.readouterr()
    assert code == 0, shown.out
    assert re.search(r"^CPU of the relay a message +[\d.]+ µs$", shown.out, re.MULTILINE)
    assert re.search(r"^messages +[\d,.]+ /s$", shown.out, re.MULTILINE)
    assert "Python " in shown.out
    assert "binary to 16 phones, 1 x 256 B x 1, 0.1 s and warm-up: 0 s so far\n" in shown.err


@pytest.mark.slow
def test_every_figure_of_a_turn_has_a_unit() -> None:
    with contender("fastrelay") as started:
        generator = started.generator
        found = generator.run("roundtrip", **SHORT)
        found |= generator.run("connect", count=PHONES + 1) | generator.run("storm")
    assert found.keys() <= FIGURES.keys()
    assert shown("cpu", 2.5e-5) == "25 µs"
    assert shown("resident", 3 * 2**20) == "3 MiB"


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_extra_is_said_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", name])
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    assert bench_main() == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "pip install '.[bench]'" in said
    assert all(package in said for package in NEEDED[name])


@pytest.mark.slow
def test_traffic_that_stays_open_is_measured_turn_by_turn() -> None:
    with contender("fastrelay") as started:
        generator = started.generator
        with pytest.raises(Failed, match="no traffic is open"):
            generator.run("turn", seconds=0.01)
        connected = "pyrycode_relay_connected_phones"
        generator.run("open", shape="up", conns=2, size=1, window=50, rate=0.0)
        assert started.relay.scrape()[connected] == 2
        received = 'pyrycode_relay_frames_received_total{direction="phone_to_binary"}'
        before = started.relay.scrape()[received]
        for _ in range(2):
            turn = generator.run("turn", seconds=0.01, warm_up=0.0, fewest=200)
            assert turn["cpu"] > 0
        assert started.relay.scrape()[received] - before >= 2 * 2 * 200
        generator.run("close")
        while started.relay.scrape()[connected]:
            time.sleep(0.01)


def _another_checkout(directory: Path) -> Path:
    """A copy of the relay in ``directory``."""
    package = Path(fastrelay.__file__).parent
    shutil.copytree(package, directory / "fastrelay", ignore=shutil.ignore_patterns("__pycache__"))
    return directory


@pytest.mark.slow
def test_a_checkout_is_compared_with_another(tmp_path: Path) -> None:
    base = _another_checkout(tmp_path)
    short = ("--pairs", "2", "--processes", "1", "--seconds", "0.01", "--tls")
    run = bench("unchanged", "--base", str(base), *short, "--only", "loads,flood")
    assert run.returncode in {0, 1}, run.stderr
    rows = [line for line in run.stdout.splitlines() if line.startswith("| f")]
    assert len(rows) == 8 + 2
    assert all("(2) |" in row and "µs" in row for row in rows)
    assert "above" not in run.stdout or run.returncode == 1


def test_a_base_without_a_relay_is_refused(tmp_path: Path) -> None:
    run = bench("unchanged", "--base", str(tmp_path))
    assert run.returncode == 1
    assert run.stderr == f"there is no package fastrelay in {tmp_path}\n"


@pytest.mark.slow
def test_both_checkouts_run_their_own_relay(tmp_path: Path) -> None:
    base = _another_checkout(tmp_path)
    with workshop() as shop, Checkouts(shop, base).both("fastrelay") as both:
        found = {
            which: Path(f"/proc/{started.relay.pid}/environ").read_bytes()
            for which, started in both.items()
        }
    assert f"PYTHONPATH={base}\0".encode() in found[BASE]
    assert f"PYTHONPATH={base}\0".encode() not in found[THIS]


@pytest.mark.slow
def test_instructions_are_counted_to_a_percent() -> None:
    needs("valgrind", "valgrind")
    loads = (SMALL,)
    with workshop() as shop:
        first, second = (count_instructions(shop, "fastrelay", loads) for _ in range(2))
    assert first[SMALL.label] > 10_000
    assert first[SMALL.label] == pytest.approx(second[SMALL.label], rel=0.02)


def test_the_interval_of_a_median() -> None:
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    # From tables of the sign test: 20 values, the sixth from either end.
    assert median_interval([float(number) for number in range(1, 21)]) == (6.0, 15.0)


def test_a_ratio_is_judged_by_its_median_and_interval() -> None:
    results = Results()
    for load, ratio in (("same", 1.0), ("worse", 1.1)):
        for noise in (0.99, 1.0, 1.0, 1.0, 1.0, 1.01):
            results.add_pair(load, ("this", {"cpu": ratio * noise}), ("base", {"cpu": 1.0}))
    text, within = ratio_table(results, ["cpu"], {("same", "cpu"): 1.03})
    assert within
    assert "1.000 | 0.990–1.010 (6) | 1.03 | within |" in text
    text, within = ratio_table(results, ["cpu"], {("worse", "cpu"): 1.03})
    assert not within
    assert "1.100 | 1.089–1.111 (6) | 1.03 | **above** |" in text


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_no_process(number: signal.Signals, code: int) -> None:
    mark = f"BENCH_TEST_{uuid.uuid4().hex}"
    with started(
        *(sys.executable, "-m", "bench", "compare", "--only", "roundtrip", "--against", "pipe"),
        env={**os.environ, mark: "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background ignores SIGINT, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as run:
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
