"""The shipped systemd unit, read; and what its system call filter comes to."""

import subprocess
from pathlib import Path

UNIT = Path(__file__).parents[2] / "docs" / "deploy" / "fastrelay.service"


def directives() -> dict[str, list[str]]:
    """Every setting of the unit with its values, in order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def denied_calls() -> list[str]:
    """The system calls that the unit's filter answers with an error (systemd.exec(5))."""
    allowed = _calls("@default")
    for line in directives()["SystemCallFilter"]:
        for entry in line.removeprefix("~").split():
            calls = _calls(entry)
            allowed = allowed - calls if line.startswith("~") else allowed | calls
    return sorted(_calls("@known") - allowed)


def _calls(entry: str) -> set[str]:
    """The calls of a group, or the one call that is meant."""
    if not entry.startswith("@"):
        return {entry}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", entry], capture_output=True, text=True, check=True
    ).stdout
    entries = [line.strip() for line in listed.splitlines()[1:] if not line.strip().startswith("#")]
    return {call for inner in entries if inner for call in _calls(inner)}
