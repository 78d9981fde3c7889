"""The soak itself: passes on a relay that is right, within seconds, and sees one that is not."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.soak.hostile import QUICK
from bench.support.relay import OURS

SHORT = ("--households", "2", "--phones", "2", "--rate", "20")


def soak(minutes: float, figures: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, figures and output of a soak in a process of its own."""
    command = (sys.executable, "-m", "bench", "soak", "--minutes", str(minutes), *SHORT, *more)
    run = subprocess.run(
        (*command, "--json", str(figures)), capture_output=True, text=True, timeout=100
    )
    assert "Traceback" not in run.stderr, run.stderr
    return run.returncode, json.loads(figures.read_text()), run.stdout


@pytest.mark.slow
def test_a_short_soak_passes(tmp_path: Path) -> None:
    code, figures, output = soak(0.04, tmp_path / "figures.json")
    assert (code, figures["complaints"]) == (0, []), output
    assert figures["frames_checked"] > 20
    assert set(figures["faults_injected"]) <= {act.__name__ for act in QUICK}
    assert "memory_peak" in output
    assert 0 < figures["lag_p99_at_most"] <= figures["lag_max_at_most"]


@pytest.mark.slow
def test_a_relay_that_is_wrong_fails_it(tmp_path: Path) -> None:
    wrong = OURS.replace("-m fastrelay", "-m tests.support.stuttering_relay")
    assert shlex.split(wrong)[1:3] == ["-m", "tests.support.stuttering_relay"]
    code, figures, output = soak(0.04, tmp_path / "figures.json", "--relay", wrong)
    assert code == 1
    assert figures["frames_wrong"] > 0
    assert "NOT AS IT MUST BE" in output
