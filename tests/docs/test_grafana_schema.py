"""The shipped dashboard against the schema that Grafana publishes, in its types."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import needs

HERE = Path(__file__).parent / "grafana"
DASHBOARD: dict[str, Any] = json.loads(
    (HERE.parents[2] / "docs/grafana-dashboard.json").read_text()
)
COMPILER = (
    *("node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "dashboard.ts"),
    *("--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022"),
)
# In JSON an enum's value is a string; in TypeScript only its name is of its type.
NAMES = (
    (r'"thresholdsStyle": \{"mode": "(\w)(\w*)"\}', "GraphThresholdsStyleMode"),
    (r'"mode": "(a)(bsolute)"', "ThresholdsMode"),
    (r'"mode": "(m)(ulti)"', "TooltipDisplayMode"),
    (r'"sort": "(d)(esc)"', "SortOrder"),
    (r'"displayMode": "(l)(ist)"', "LegendDisplayMode"),
    (r'"showPoints": "(n)(ever)"', "VisibilityMode"),
    (r'"textMode": "(n)(ame)"', "BigValueTextMode"),
    (r'"graphTooltip": (1)()', "DashboardCursorSync"),
)

MEMBERS = {"DashboardCursorSync": "Crosshair", "SortOrder": "Descending"}
"""Names of members that are not their values with a capital."""


def as_typescript(dashboard: dict[str, Any]) -> str:
    """The parts that ``types.ts`` has types for, each of which must satisfy its type."""
    panels = dashboard["panels"]
    series = [panel for panel in panels if panel["type"] == "timeseries"]
    parts = {
        "dashboard": {key: value for key, value in dashboard.items() if key != "annotations"},
        "annotations": dashboard["annotations"]["list"],
        "statOptions": [panel["options"] for panel in panels if panel["type"] == "stat"],
        "seriesOptions": [panel["options"] for panel in series],
        "seriesFields": [panel["fieldConfig"]["defaults"]["custom"] for panel in series],
    }
    text = "".join(f"({json.dumps(part)}) satisfies T.{name};\n" for name, part in parts.items())
    for pattern, enum in NAMES:
        text = re.sub(pattern, lambda found, enum=enum: with_name(found, enum), text)  # type: ignore[misc]
    return text


def with_name(found: "re.Match[str]", enum: str) -> str:
    """What was found, with the name of the enum's member for its value."""
    member = MEMBERS.get(enum, found[1].upper() + found[2])
    key, _, value = found[0].rpartition(": ")
    return f"{key}: E.{enum}.{member}{'}' if value.endswith('}') else ''}"


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the schema and a compiler."""
    needs("npm", "npm")
    directory = tmp_path_factory.mktemp("grafana") / "check"
    shutil.copytree(HERE, directory)
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=120)
    return directory


def complaints(directory: Path, dashboard: dict[str, Any]) -> str:
    """What the compiler has to say about a dashboard."""
    imports = "import * as E from '@grafana/schema';\nimport type * as T from './types';\n"
    source = imports + as_typescript(dashboard)
    (directory / "dashboard.ts").write_text(source)
    done = subprocess.run(COMPILER, cwd=directory, capture_output=True, text=True, timeout=120)
    assert bool(done.returncode) == bool(done.stdout), done.stderr
    return done.stdout


@pytest.mark.slow
def test_grafana_takes_it_and_would_not_take_others(compiler: Path) -> None:
    assert complaints(compiler, DASHBOARD) == ""
    broken = json.loads(json.dumps(DASHBOARD))
    broken["panels"][0]["gridPos"]["h"] = "eight"
    broken["panels"][1]["options"]["legend"]["placement"] = "below"
    broken["annotations"]["list"][0]["enable"] = "yes"
    said = complaints(compiler, broken)
    assert said.count("error TS") == 3
    assert "LegendPlacement" in said
