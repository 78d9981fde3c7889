"""The memory that control groups allow, and the default budget that follows from it."""

from pathlib import Path

import pytest

from fastrelay.config import from_flags
from fastrelay.config.errors import ConfigurationError
from fastrelay.config.memory_limit import memory_limit
from fastrelay.config.sources import read_options

MIB = 1024 * 1024


def system(root: Path, membership: str, **files: str) -> Path:
    """A file system with these limits; ``__`` stands for a slash."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(membership)
    for name, text in files.items():
        path = root / "sys" / "fs" / "cgroup" / name.replace("__", "/")
        path = path.with_name(path.name.replace("memory_max", "memory.max"))
        path = path.with_name(path.name.replace("memory_limit", "memory.limit_in_bytes"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_version_2_and_every_group_above(tmp_path: Path) -> None:
    files = {"a__b__memory_max": "max\n", "a__memory_max": "1000\n", "memory_max": "2000\n"}
    assert memory_limit(system(tmp_path, "0::/a/b\n", **files)) == 1000


def test_version_1(tmp_path: Path) -> None:
    files = {"memory__docker__x__memory_limit": "3000\n", "memory__memory_limit": f"{2**63 - 4096}"}
    membership = "5:cpu,cpuacct:/\n4:memory:/docker/x\n0::/\n"
    assert memory_limit(system(tmp_path, membership, **files)) == 3000


def test_a_container_that_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    assert memory_limit(system(tmp_path, "0::/kubepods/pod1\n", memory_max="4000")) == 4000


@pytest.mark.parametrize("text", ["max", "", "0", "x"])
def test_no_limit(tmp_path: Path, text: str) -> None:
    assert memory_limit(system(tmp_path, "0::/\n", memory_max=text)) is None


def test_no_proc(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None


def budget(monkeypatch: pytest.MonkeyPatch, allowed: int | None, *arguments: str) -> int:
    monkeypatch.setattr(from_flags, "memory_limit", lambda: allowed)
    options = read_options(["--insecure-listen", "127.0.0.1:1", *arguments], {})
    return from_flags.read_settings(options, {}).limits.held_bytes


@pytest.mark.parametrize(
    ("allowed", "arguments", "expected"),
    [
        (None, (), 256 * MIB),
        (2**40, (), 256 * MIB),
        (100 * MIB, (), 50 * MIB),
        (100 * MIB, ("--max-held-bytes", "90000000"), 90_000_000),
        (100 * MIB, ("--max-buffered-bytes", "90000000"), 90_000_000),
        (None, ("--max-held-bytes", "4194304"), 4 * MIB),
    ],
)
def test_the_budget(
    monkeypatch: pytest.MonkeyPatch,
    allowed: int | None,
    arguments: tuple[str, ...],
    expected: int,
) -> None:
    assert budget(monkeypatch, allowed, *arguments) == expected


@pytest.mark.parametrize(
    ("allowed", "arguments", "named"),
    [
        (None, ("--max-held-bytes", "4194303"), "--max-held-bytes 4194303 is less than 16 times"),
        (None, ("--max-buffered-bytes", "9"), "--max-buffered-bytes 9 is less than 16 times"),
        (None, ("--max-message-bytes", "67108864"), "the default of --max-held-bytes, 268435456"),
        (6 * MIB, (), "--max-held-bytes is not given, and half of this process's memory, 3145728"),
        (None, ("--max-held-bytes", "9", "--max-buffered-bytes", "9"), "--max-buffered-bytes is"),
    ],
)
def test_a_budget_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, allowed: int | None, arguments: tuple[str, ...], named: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        budget(monkeypatch, allowed, *arguments)
    assert str(refused.value).startswith(named)
