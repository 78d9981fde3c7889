"""The list of log events for operators, against the source."""

import ast
import re
from pathlib import Path

from fastrelay.log import LEVELS
from tests.test_log import SPECIFIED, log_calls, modules

PAGE = (Path(__file__).parents[2] / "docs" / "log-events.md").read_text()
_SLOG = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR"}


def rows() -> dict[str, str]:
    """The level of each event of the page."""
    found = {}
    for events, level in re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \| (\w+) \|", PAGE, re.MULTILINE):
        found.update(dict.fromkeys(re.findall(r"`([^`]+)`", events), level))
    return found


def logged() -> set[str]:
    """Every event that is a literal in a call of the log."""
    found = set()
    for source in modules().values():
        for call in log_calls(source):
            for argument in call.args[:1]:
                # "a" if … else "b" is two events.
                found |= {
                    node.value
                    for node in ast.walk(argument)
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
    return found


def test_every_event_has_a_row_that_says_what_to_do() -> None:
    assert len(logged()) > 30
    assert logged() | SPECIFIED <= rows().keys()
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            assert len([cell for cell in line.strip("| ").split(" | ") if cell]) == 4, line


def test_the_levels_are_those_of_the_log() -> None:
    assert set(rows().values()) <= {_SLOG[level] for level in LEVELS}
