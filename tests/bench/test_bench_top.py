"""``python -m bench top``: the picture of the live view comes from a real run."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree


def test_the_screen_is_drawn_from_a_real_run(tmp_path: Path) -> None:
    picture = tmp_path / "top.svg"
    command = (sys.executable, "-m", "bench", "top", "--seconds", "3", "--output", picture)
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    drawn = picture.read_text()
    text = " ".join("".join(ElementTree.fromstring(drawn).itertext()).split())
    for part in (
        "worker serves live",
        "attempts /s total",
        "messages/s, at most",
        "q quit p pause",
    ):
        assert part in text
    assert "url(http" not in drawn  # nothing is loaded from elsewhere
