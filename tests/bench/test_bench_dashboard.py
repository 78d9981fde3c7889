"""``python -m bench dashboard``: the picture of the dashboard comes from a real run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import needs

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_dashboard_is_drawn_from_a_real_run(tmp_path: Path) -> None:
    needs("prometheus", "prometheus")
    picture = tmp_path / "dashboard.png"
    command = (sys.executable, "-m", "bench", "dashboard", "--seconds", "3", "--output", picture)
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    panels = json.loads((ROOT / "docs/grafana-dashboard.json").read_text())["panels"]
    assert run.stdout.startswith(f"{len(panels)} panels, ")
    assert picture.read_bytes().startswith(b"\x89PNG")
