"""The release command: what it makes, and that what it makes is whole."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = "9.8.7rc1"
STEM = f"fastrelay-{VERSION}"
SHIPPED = (
    "fastrelay.service",
    "alerts.yml",
    "grafana-dashboard.json",
    "Containerfile",
    "nginx.conf",
)


def checkout(directory: Path) -> Path:
    """A copy of this checkout as git would have it, changes included."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return directory


def release(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ".ci/release", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a release is made from a checkout")
def test_one_command_makes_a_release(tmp_path: Path) -> None:
    """One test for all of it, because a build takes seconds."""
    source = checkout(tmp_path / "source")
    done = release(source, VERSION, "--no-isolation", "--allow-dirty")
    assert done.returncode == 0, done.stderr
    dist = source / "dist"
    wheel, sdist = f"{STEM}-py3-none-any.whl", f"{STEM}.tar.gz"
    names = {file.name for file in dist.iterdir()}
    assert names == {wheel, sdist, "sbom.json", "notes.md", "SHA256SUMS"}
    check_sums(dist, names)
    check_changelog(source, dist)
    assert json.loads((dist / "sbom.json").read_text())["bomFormat"] == "CycloneDX"
    check_wheel(dist / wheel)
    check_sdist(dist / sdist, tmp_path)
    check_files_of_an_installation(dist / wheel, tmp_path)
    for command in ("git commit", "git tag", "twine upload"):
        assert command in done.stdout


def check_sums(dist: Path, names: set[str]) -> None:
    lines = (dist / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    assert sums.keys() == names - {"SHA256SUMS"}
    for name, sha256 in sums.items():
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == sha256


def check_changelog(source: Path, dist: Path) -> None:
    """What was unreleased has a version and a date, and is what the notes say."""
    text = (source / "CHANGELOG.md").read_text()
    unreleased, dated = text.split(f"\n## {VERSION} (")
    assert unreleased.endswith("## Unreleased\n")
    assert re.match(r"\d{4}-\d\d-\d\d\)\n\n", dated)
    assert (dist / "notes.md").read_text().strip() in dated
    assert (dist / "notes.md").read_text().startswith("* ")


def check_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name.rpartition("/")[2]: name for name in archive.namelist()}
        metadata = message_from_bytes(archive.read(f"{STEM}.dist-info/METADATA"))
    assert not [name for name in archive.namelist() if name.startswith(("tests", "bench"))]
    for name in (*SHIPPED, "LICENSE", "py.typed"):
        assert name in files
    assert metadata["Version"] == VERSION
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Keywords"]
    assert "fastrelay maintainers" in metadata["Author"]
    assert len(metadata.get_all("Classifier")) > 5
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL"))
    assert {"Homepage", "Documentation", "Changelog", "Issues", "Source"} <= urls.keys()
    assert re.findall(r"\]\((?!https://)", metadata.get_payload()) == []


def check_sdist(sdist: Path, directory: Path) -> None:
    """It has everything, and its tests find their helpers."""
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    unpacked = directory / STEM
    for name in ("LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile"):
        assert (unpacked / name).exists()
    collected = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            "-m",
            "slow or not slow",
        ],
        cwd=unpacked,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert collected.returncode == 0, collected.stdout[-3000:]
    here = {str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py")}
    assert {line.partition(": ")[0] for line in collected.stdout.splitlines()} >= here


def check_files_of_an_installation(wheel: Path, directory: Path) -> None:
    """Installed from the wheel alone, away from any checkout, the command has its files."""
    for option in ("--target", "--prefix"):
        place, written = directory / f"installed{option}", directory / f"written{option}"
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--ignore-installed"]
        command = [*pip, option, str(place), str(wheel)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        (package,) = place.glob("**/fastrelay/cli.py")
        program = (
            f"import sys; sys.path.insert(0, {str(package.parents[1])!r})\n"
            "import fastrelay; from fastrelay.cli import main\n"
            f"assert fastrelay.__file__.startswith({str(place)!r})\n"
            f"sys.exit(main(['files', {str(written)!r}]))"
        )
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        for name in SHIPPED:
            (source,) = [*(ROOT / "docs").glob(name), *(ROOT / "docs/deploy").glob(name)]
            assert (written / name).read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("one",), "one is no version"),
        (("1.0",), "1.0 is no version"),
        (("0.0.1",), "has 0.0.1 already"),
    ],
)
def test_what_is_no_release_changes_nothing(
    arguments: tuple[str, ...], what: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## Unreleased\n\n* A\n\n## 0.0.1 (2026-01-01)\n\n* B\n")
    before = changelog.read_text()
    done = release(tmp_path, *arguments)
    assert done.returncode == 2
    assert what in done.stderr
    assert changelog.read_text() == before


def test_nothing_unreleased_is_no_release(tmp_path: Path) -> None:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.0.1 (x)\n\n* B\n")
    done = release(tmp_path, "0.0.2")
    assert (done.returncode, "nothing is unreleased" in done.stderr) == (2, True)
