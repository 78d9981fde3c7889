"""The benchmarks run, and a load generator sees a reply that is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.__main__ import COMMANDS
from bench.compare.plan import SMALL, TARGETS
from bench.compare.report import Figures, summary
from bench.support.meter import measure
from bench.support.relay import OURS, Relay, running


def generate(relay: Relay, generator: str, *arguments: str) -> dict[str, float]:
    """One run of a load generator."""
    where = ("--port", str(relay.port), "--pid", str(relay.pid))
    command = (sys.executable, "-m", f"bench.load.{generator}", *where, *arguments)
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found: dict[str, float] = json.loads(run.stdout)
    return found


def test_every_command_explains_itself() -> None:
    listed = subprocess.run(
        (sys.executable, "-m", "bench"), capture_output=True, text=True, check=False
    )
    assert listed.returncode == 2
    for name in COMMANDS:
        assert f"  {name} " in listed.stderr
    for name in ("compare", "soak"):
        command = (sys.executable, "-m", "bench", name, "--help")
        assert b"default" in subprocess.run(command, capture_output=True, check=True).stdout


def test_loads_measure_a_relay() -> None:
    with running() as relay:
        closed = ("--conns", "2", "--seconds", "0.2")
        found = generate(relay, "roundtrip", *closed, "--size", "70000", "--window", "3")
        assert found["cpu"] > 0
        assert found["rate"] > 0
        assert 0 < found["p50"] <= found["p99"] <= found["p999"]
        offered = generate(relay, "roundtrip", *closed, "--rate", "200")
        assert 100 < offered["rate"] < 300
        idle = generate(relay, "idle", "--count", "64")
        assert idle["cpu_upgrade"] > 0


def test_a_wrong_reply_is_an_error() -> None:
    with running(OURS.replace("-m fastrelay", "-m tests.support.rewriting_relay")) as relay:
        found = generate(relay, "roundtrip", "--conns", "1", "--seconds", "2")
        assert "other bytes" in str(found["error"])


def test_the_meter_reads_this_process() -> None:
    before = measure(os.getpid())
    sum(number * number for number in range(300_000))
    after = measure(os.getpid())
    assert after.cpu > before.cpu
    assert after.resident > 1_000_000
    with Path("/dev/null").open():
        assert measure(os.getpid()).descriptors == after.descriptors + 1


def test_a_missed_target_is_said() -> None:
    figures: Figures = {
        (SMALL.label, "fastrelay", "cpu"): [2e-5, 3e-5, 4e-5],
        (SMALL.label, "haproxy", "cpu"): [1e-5, 1e-5, 1e-5],
    }
    text, met = summary(figures, 1.0)
    assert not met
    assert "| 16 x 256 B x 1 | 1.6 | 3 | 2–4 | **missed** |" in text
    assert text.count("not measured") == len(TARGETS) - 1
    figures[SMALL.label, "fastrelay", "cpu"] = [1e-5] * 3
    assert summary(figures, 1.0)[1]
