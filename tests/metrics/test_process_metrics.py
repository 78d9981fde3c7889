"""The process's own families: the library's names and values, without its list of descriptors."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import Metric, ProcessCollector

from fastrelay.metrics import process
from fastrelay.metrics.process import ProcessMetrics, open_descriptors


def samples(families: Iterable[Metric]) -> dict[str, float]:
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_names_and_values_are_those_of_the_library() -> None:
    ours = samples(ProcessMetrics().collect())
    theirs = samples(ProcessCollector(registry=None).collect())
    # The library has the list's own descriptor among them.
    assert theirs.pop("process_open_fds") == ours.pop("process_open_fds") + 1
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, rel=0.05, abs=0.05)


def test_descriptors_are_counted_and_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    if not process._DESCRIPTORS.stat().st_size:
        pytest.skip("Linux counts descriptors from 6.2 on; before, they are listed")
    monkeypatch.setattr(os, "listdir", None)
    before = open_descriptors()
    held = [os.dup(0) for _ in range(100)]
    assert open_descriptors() == before + 100
    for descriptor in held:
        os.close(descriptor)
    assert open_descriptors() == before


def test_a_kernel_that_does_not_count_has_them_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Uncounted(type(tmp_path)):  # type: ignore[misc]
        def stat(self, **_: object) -> os.stat_result:
            return os.stat_result((0,) * 10)

    for number in range(7):
        (tmp_path / str(number)).touch()
    monkeypatch.setattr(process, "_DESCRIPTORS", Uncounted(tmp_path))
    assert open_descriptors() == 7


def test_no_proc_no_families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessCollector, "collect", lambda self: [])
    assert samples(ProcessMetrics().collect()) == {}
