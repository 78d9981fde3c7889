"""What the documents name is there: tests, files, flags, metrics, places in the code."""

import pkgutil
import re
from pathlib import Path

import pytest

from fastrelay.config.flags import FLAGS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted((*DOCS.rglob("*.md"), *ROOT.glob("*.md")))
REPOSITORY = "https://github.com/pyrycode/fastrelay"
OPERATORS = sorted((*(DOCS / "runbooks").glob("*.md"), DOCS / "operations.md", DOCS / "deploy.md"))


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def named_tests(text: str) -> list[tuple[str, str]]:
    """Tests named as ``file::test``, where the file is relative to ``tests/``."""
    return re.findall(r"`((?:\w+/)?test_\w+\.py)::(\w+)`", text)


def missing_tests(text: str) -> list[str]:
    """Those that are not there, as functions or as invariants of a model."""
    missing = []
    for file, test in named_tests(text):
        path = ROOT / "tests" / file
        source = path.read_text() if path.exists() else ""
        pattern = rf"^(async )?def {test}\(|^    @invariant\(\)\n    def {test}\("
        if not re.search(pattern, source, re.MULTILINE):
            missing.append(f"{file}::{test}")
    return missing


@pytest.mark.parametrize(("page", "least"), [("threat-model.md", 40), ("invariants.md", 30)])
def test_every_test_a_page_names_is_there(page: str, least: int) -> None:
    text = (DOCS / page).read_text()
    assert len(named_tests(text)) > least
    assert missing_tests(text) == []


def test_a_test_that_is_not_there_is_found() -> None:
    here, gone = (
        "docs/test_docs.py::test_a_test_that_is_not_there_is_found",
        "docs/test_docs.py::no",
    )
    assert missing_tests(f"`{here}`, `{gone}`, `test_none.py::test_a`") == [
        gone,
        "test_none.py::test_a",
    ]


def rows(page: str) -> list[list[str]]:
    """The cells of all tables of a page, without their heads."""
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| ")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    return [row for row in cells if row[0] != "invariant"]


def test_every_invariant_has_a_place_that_is_there_and_a_test() -> None:
    invariants = rows("invariants.md")
    assert len(invariants) > 15
    for invariant, places, tests in invariants:
        assert named_tests(tests), invariant
        for place in re.findall(r"`([\w.]+)`", places):
            pkgutil.resolve_name(f"fastrelay.{place}")  # raises where there is none
        assert "`" in places or places == "all modules", invariant


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


def anchors(text: str) -> set[str]:
    """The places in a page that a link can name: its headings, as GitHub makes ids, and ids."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


def missing_anchors(page: Path, text: str) -> list[str]:
    """The links of a page to places that are not there, in itself or in another page."""
    missing = []
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text):
        named = (page.parent / file).read_text() if file else text
        if anchor not in anchors(named):
            missing.append(f"{file}#{anchor}")
    return missing


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_to_places_that_are_there(page: Path) -> None:
    assert missing_anchors(page, page.read_text()) == []


def test_a_link_to_no_place_is_found() -> None:
    text = (
        '# A `b` (c)\n\n<a id="d"></a>\n[x](#a-b-c) [x](#d) [x](#e)\n[y](operations.md#flags)'
        " [y](operations.md#f)\n```\n# e\n```\n"
    )
    assert missing_anchors(DOCS / "page.md", text) == ["#e", "operations.md#f"]


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_links_to_the_repository_lead_to_files_of_it(page: Path) -> None:
    """Pages that are shown elsewhere, such as in the package index, have whole addresses."""
    for target in re.findall(rf"{REPOSITORY}/(?:blob|tree)/main/([^)#\s]+)", page.read_text()):
        assert (ROOT / target).exists(), target


INSTALLED_BY_NAME = re.compile(r"pip install (?:-\S+ )*['\"]?fastrelay(?![-/])")


def test_nothing_is_installed_by_its_name() -> None:
    """The package is in no index, and there the name is anybody's: only paths are installed."""
    assert INSTALLED_BY_NAME.search("/opt/fastrelay/bin/pip install 'fastrelay[acme]'")
    assert INSTALLED_BY_NAME.search("pip install --upgrade fastrelay==1")
    assert not INSTALLED_BY_NAME.search("/opt/fastrelay/bin/pip install './fastrelay-1.whl[acme]'")
    for file in (*PAGES, *(DOCS / "deploy").iterdir(), *(ROOT / "fastrelay").rglob("*.py")):
        assert not INSTALLED_BY_NAME.search(file.read_text()), file


@pytest.mark.parametrize("page", OPERATORS, ids=names(OPERATORS))
def test_flags_and_metrics_of_the_operators_pages_are_there(page: Path) -> None:
    text = page.read_text()
    known = set(FLAGS)
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


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_is_described_for_operators(flag: str) -> None:
    assert re.search(rf"`{flag}[ `]", (DOCS / "operations.md").read_text()), flag


def test_every_runbook_is_linked_from_the_operators_page() -> None:
    text = (DOCS / "operations.md").read_text()
    for page in (DOCS / "runbooks").glob("*.md"):
        assert f"(runbooks/{page.name})" in text, page.name
