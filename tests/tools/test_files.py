"""``fastrelay files``: what ships beside the code, written out. From a wheel: test_release.py."""

from pathlib import Path

import pytest

from fastrelay.cli import main
from tests.support.command import what_and_fix

DOCS = Path(__file__).parents[2] / "docs"


def test_the_files_of_a_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a" / "b"
    assert main(["files", str(target)]) == 0
    expected = {file.name: file for file in (DOCS / "deploy").iterdir()}
    expected |= {name: DOCS / name for name in ("alerts.yml", "grafana-dashboard.json")}
    assert {file.name for file in target.iterdir()} == expected.keys()
    for name, source in expected.items():
        assert (target / name).read_bytes() == source.read_bytes()
    assert set(capsys.readouterr().out.splitlines()) == {str(target / name) for name in expected}
    assert main(["files", str(target)]) == 0  # what is there already is the same


def test_a_file_that_was_changed_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nginx.conf").write_text("mine")
    assert main(["files", str(tmp_path)]) == 2
    what, fix = what_and_fix(capsys.readouterr().err)
    assert "nginx.conf' is there already" in what
    assert fix
    assert [file.name for file in tmp_path.iterdir()] == ["nginx.conf"]


@pytest.mark.parametrize("directory", ["/dev/null/x", "/proc/x"])
def test_a_directory_that_cannot_be_written(
    directory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["files", directory]) == 2
    assert what_and_fix(capsys.readouterr().err)[0].startswith("cannot write to ")


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("--force", "a")])
def test_arguments_that_make_no_sense(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["files", *arguments]) == 2
    assert "files --help" in what_and_fix(capsys.readouterr().err)[1]
