"""What the documents name is there: tests, files, flags, metrics."""

import re
from pathlib import Path

import pytest

from fastrelay.config.flags import make_parser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted((*DOCS.rglob("*.md"), ROOT / "README.md"))
OPERATORS = sorted((*(DOCS / "runbooks").glob("*.md"), DOCS / "operations.md", DOCS / "deploy.md"))


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_every_test_the_threat_model_names_is_there() -> None:
    named = re.findall(
        r"`((?:\w+/)?test_\w+\.py)::(test_\w+)`", (DOCS / "threat-model.md").read_text()
    )
    assert len(named) > 40
    files = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
    for file, test in named:
        path = files[Path(file).name]
        assert path.as_posix().endswith(f"/{file}"), f"{file} is in {path.parent}"
        source = path.read_text()
        assert re.search(rf"^(async )?def {test}\(", source, re.MULTILINE), f"{file}::{test}"


def test_every_threat_has_a_test_or_says_that_nothing_stands_against_it() -> None:
    text = (DOCS / "threat-model.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    threats = [row for row in rows if row[0] != "| threat"]
    assert len(threats) > 30
    for threat, against, shown, _ in threats:
        assert "::" in shown or against.startswith("nothing"), threat


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", OPERATORS, ids=names(OPERATORS))
def test_flags_and_metrics_of_the_operators_pages_are_there(page: Path) -> None:
    text = page.read_text()
    known = set(make_parser()._option_string_actions)
    ours = re.findall(
        r"(?<![\w-])--(?:[a-z]+-)*(?:listen|domain|cache|burst|refill|connections"
        r"|bytes|phones|grace|from|protocol|directory|email)\b",
        text,
    )
    assert set(ours) <= known
    documented = set(
        re.findall(r"^\| `(pyrycode_relay_\w+)`", (DOCS / "operations.md").read_text(), re.M)
    )
    documented |= set(
        re.findall(r", `(pyrycode_relay_\w+)` \|", (DOCS / "operations.md").read_text())
    )
    assert set(re.findall(r"pyrycode_relay_\w+", text)) <= documented


def test_every_runbook_is_linked_from_the_operators_page() -> None:
    text = (DOCS / "operations.md").read_text()
    for page in (DOCS / "runbooks").glob("*.md"):
        assert f"(runbooks/{page.name})" in text, page.name
