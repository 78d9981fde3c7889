"""The list of log events for operators, against the source."""

import re
from pathlib import Path

from fastrelay.log import LEVELS
from tests.test_log import events_of, level_of, log_calls, modules

PAGE = (Path(__file__).parents[2] / "docs" / "log-events.md").read_text()
_SLOG = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR"}


def rows() -> dict[str, str]:
    """The level of each event of the page."""
    found = {}
    for events, level in re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \| (\w+) \|", PAGE, re.MULTILINE):
        found.update(dict.fromkeys(re.findall(r"`([^`]+)`", events), level))
    return found


def logged() -> dict[str, set[str]]:
    """Every event that is a literal in a call of the log, and its levels."""
    found: dict[str, set[str]] = {}
    for source in modules().values():
        for call in log_calls(source):
            for event in events_of(call):
                found.setdefault(event, set()).add(_SLOG[level_of(call)])
    return found


def test_every_event_has_a_row_that_says_what_to_do() -> None:
    assert len(logged()) > 30
    assert logged().keys() <= rows().keys()
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            assert len([cell for cell in line.strip("| ").split(" | ") if cell]) == 4, line


def test_every_event_has_the_level_of_its_row() -> None:
    documented, found = rows(), logged()
    assert found.pop("proxy_header_refused") == {documented.pop("proxy_header_refused"), "DEBUG"}
    assert {event: {documented[event]} for event in found} == found


def test_the_levels_are_those_of_the_log() -> None:
    assert set(rows().values()) <= {_SLOG[level] for level in LEVELS}
