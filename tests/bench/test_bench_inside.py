"""Profiles, experiments and micro-benchmarks look into the relay: they must notice a change."""

import ast
import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.compare.contenders import workshop
from bench.experiments import fair_turns, metrics_cost, parts, two_relays
from bench.experiments.command import NAMES
from bench.profile.frames import profile_frames
from bench.profile.memory import profile_memory
from bench.profile.upgrade import PHASES, profile_upgrade
from bench.support.relay import OURS
from bench.support.wire import client_frame

MODULES = {name: importlib.import_module(f"bench.experiments.{name}") for name in NAMES}
CHANGES = [name for name, module in MODULES.items() if hasattr(module, "change")]
LONG = {"fair_turns", "metrics_cost", "two_relays"}
"""Have tests of their own: they start relays, or a valgrind."""
PARTS = [name for name, module in MODULES.items() if hasattr(module, "main") and name not in LONG]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fastrelay tls"])
def test_memory_by_line_and_type(name: str) -> None:
    text = profile_memory(name, 45, 40)
    assert "  fastrelay/websocket/connection.py:" in text
    assert "    1.00  fastrelay.websocket.connection.Connection\n" in text
    assert ("fastrelay.net.tls.layer.TlsLayer" in text) == name.endswith("tls")
    assert "by RSS" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fastrelay"])
def test_upgrade_by_phase(name: str) -> None:
    lines = profile_upgrade(name, 18).splitlines()
    seen = {phase for phase in PHASES for line in lines if line.endswith(f"%  {phase}")}
    assert seen == set(PHASES) - (set() if name.endswith("tls") else {"TLS"})


@pytest.mark.slow
def test_frames_by_function() -> None:
    load = {"size": 256, "window": 4, "seconds": 0.1}
    text = profile_frames("fastrelay", load, 60, "cProfile")
    for function in ("decoder.py", "on_messages", "check_frame", "unwrap"):
        assert function in text


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_change_replaces_is_there(name: str) -> None:
    """Else it would be an addition that no code looks at, and the two relays compared the same."""
    module = MODULES[name]
    tree = ast.parse(Path(module.__file__ or "").read_text())
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Assign)):
        for target in (each for each in node.targets if isinstance(each, ast.Attribute)):
            *owners, attribute = ast.unparse(target).split(".")
            if owners[0] in vars(module):
                owner = functools.reduce(getattr, owners[1:], vars(module)[owners[0]])
                assert hasattr(owner, attribute), ast.unparse(target)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_relay_still_relays(name: str) -> None:
    contender = getattr(MODULES[name], "CONTENDER", "fastrelay")
    load = {"conns": 1, "size": 20_000, "window": 2, "rate": 0.0, "seconds": 0.05}
    with (
        workshop() as shop,
        shop.start(contender, module=f"bench.experiments.variant {name}") as changed,
    ):
        assert changed.generator.run("roundtrip", **load)["rate"] > 0


@pytest.mark.parametrize("name", PARTS)
def test_parts_are_measured(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parts, "_SECONDS", 1e-4)
    MODULES[name].main()
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) >= 2
    assert all(any(character.isdigit() for character in row) for row in rows)


@pytest.mark.slow
def test_two_relays_are_measured_beside_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"_PAIRS": 2, "_UPGRADES": 10, "_SECONDS": 0.05}.items():
        monkeypatch.setattr(two_relays, name, value)
    two_relays.main()
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 5
    assert all("µs" in row for row in rows)


@pytest.mark.slow
def test_a_round_trip_is_measured_beside_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_turns, "_SECONDS", 0.1)
    times = fair_turns.beside(OURS, client_frame(b"1"))
    assert times
    assert min(times) > 0


@pytest.mark.parametrize("module", sorted(metrics_cost.COUNTING))
def test_nothing_counts_in_what_the_cost_of_metrics_is_compared_with(module: str) -> None:
    source = Path(importlib.import_module(module).__file__ or "").read_text()
    bare = metrics_cost.without_counting(source)
    for counting in (".received +=", ".forwarded +=", ".forwarded_bytes +=", ".sample_at"):
        assert counting not in bare
    assert bare != ast.unparse(ast.parse(source))


@pytest.mark.slow
def test_micro_benchmarks_run() -> None:
    few = ("--seconds", "0.001", "-k", "decode_ping or test_unwrap or a_phone or header")
    command = (sys.executable, "-m", "bench", "micro", *few)
    alone = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    run = subprocess.run(command, env=alone, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    for group in ("decode one frame", "encode a header", "unwrap", "upgrade, the whole way"):
        assert f"benchmark '{group}'" in run.stdout
