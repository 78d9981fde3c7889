"""``fastrelay --help``: every flag, 80 columns, and what is beside the flags."""

import re
from pathlib import Path

import pytest

from fastrelay.config.flags import CREDENTIALS, FLAGS, PRODUCTION, SINGLE_INSTANCE
from fastrelay.config.sources import read_options
from tests.support.command import run


def entries_of_help(text: str) -> dict[str, dict[str, str]]:
    """The entries of each group of flags: heading, flag with its value, text in one line."""
    groups = {}
    for group in re.split(r"\n\n(?=\S)", text):
        title, _, rest = group.partition(":\n")
        entries = re.split(r"\n?^  (?=-)", rest, flags=re.MULTILINE)[1:]
        groups[title] = dict(re.split(r"\s{2,}", entry, maxsplit=1) for entry in entries)
    return {title: entries for title, entries in groups.items() if entries}


def test_help_has_every_flag_with_its_value_and_default() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    groups = entries_of_help(done.stdout)
    shown = {
        flag: " ".join(text.split()) for group in groups.values() for flag, text in group.items()
    }
    suffix = {"required": " {}", "optional": " [{}]", "switch": ""}
    for flag in FLAGS.values():
        text = shown.pop(flag.name + suffix[flag.value].format(flag.metavar))
        assert flag.help in text
        assert text.endswith(f"(default: {flag.shown})") or not flag.shown
    assert list(shown) == ["-h, --help", "--version"]


@pytest.mark.parametrize(
    ("flag", "default"),
    [
        ("--https-listen", ":443"),
        ("--cert-cache", "~/.fastrelay/certs"),
        ("--metrics-listen", "127.0.0.1:9090"),
        ("--max-message-bytes", "256KiB"),
        ("--max-held-bytes", "256MiB"),
        ("--max-phones", "16"),
        ("--grace", "30"),
        ("--upgrade-burst", "20"),
        ("--log-level", "info"),
    ],
)
def test_defaults_that_help_shows(flag: str, default: str) -> None:
    assert FLAGS[flag].shown == default


def test_help_fits_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    done = run("--help")
    assert max(len(line) for line in done.stdout.splitlines()) < 80


@pytest.mark.parametrize("spelling", ["-h", "-help", "--help"])
def test_help_has_variables_exit_codes_and_examples(spelling: str) -> None:
    said = run("--no-such-flag", spelling).stdout
    for variable in (PRODUCTION, SINGLE_INSTANCE, CREDENTIALS, "FASTRELAY_MAX_PHONES"):
        assert variable in said
    assert re.findall(r"^  ([012])  ", said, re.MULTILINE) == ["0", "1", "2"]
    for command in ("check", "probe", "top", "--config /etc/fastrelay.toml"):
        assert f"fastrelay {command}" in said


def test_every_example_of_help_is_understood(tmp_path: Path) -> None:
    said = run("--help").stdout
    examples = re.findall(r"^  (\S*) ?fastrelay((?: --\S+ \S+)+)$", said, re.MULTILINE)
    assert len(examples) >= 4
    file = tmp_path / "fastrelay.toml"
    file.write_text("max-phones = 4\n")
    for variable, rest in examples:
        environment = dict([variable.split("=")]) if variable else {}
        read_options(rest.replace("/etc/fastrelay.toml", str(file)).split(), environment)
