"""What a relay with workers shows beside what a relay of one process shows: nothing less."""

import os
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric

from fastrelay.log import LineCounts
from fastrelay.metrics import make_metrics
from fastrelay.metrics.process import own_use
from fastrelay.metrics.relay_wide import RelayWide, WorkerState, expose_relay_wide
from fastrelay.policy.held_bytes import HeldBytes
from fastrelay.policy.shared.layout import SharedState, size_of
from fastrelay.server.exposed import expose

WORKERS = 3
OF_WORKERS = {
    f"pyrycode_relay_worker_{name}"
    for name in ("up", "restarts", "connections", "loop_lag_seconds", "cpu_seconds")
}


def relay_wide(workers: list[WorkerState]) -> CollectorRegistry:
    shared = SharedState(memoryview(bytearray(size_of(WORKERS))), WORKERS)
    shown = RelayWide(
        sums=shared.sums(),
        held_limit=1 << 20,
        certificate_expiry=lambda: 5.0,
        has_push=True,
        workers=lambda: workers,
    )
    return expose_relay_wide(shown)


def of_one_process() -> CollectorRegistry:
    metrics = make_metrics()
    expose(metrics, HeldBytes(1 << 20), lambda: LineCounts(0, 0), lambda: 5.0, has_push=True)
    return metrics.registry


def series(families: Iterable[Metric]) -> set[tuple[str, str, str, tuple[tuple[str, str], ...]]]:
    """Every series with the type and the text of its family."""
    return {
        (family.type, family.documentation, sample.name, tuple(sorted(sample.labels.items())))
        for family in families
        for sample in family.samples
    }


def worker(pid: int = 0, retired_cpu: float = 0.0) -> WorkerState:
    return WorkerState(
        pid=pid, is_up=pid > 0, restarts=0, connections=0, lag=0.0, retired_cpu=retired_cpu
    )


def test_all_series_of_one_process_are_there_with_the_same_labels() -> None:
    families = list(relay_wide([worker()] * WORKERS).collect())
    new = [family for family in families if family.name in OF_WORKERS]
    assert series(f for f in families if f not in new) == series(of_one_process().collect())
    assert {family.name for family in new} == OF_WORKERS
    for family in new:  # from the start, whoever is up
        assert [sample.labels for sample in family.samples] == [{"worker": n} for n in "012"]


def test_what_processes_take_is_added_up_and_the_time_of_the_dead_stays() -> None:
    def value(workers: list[WorkerState], name: str) -> float:
        found = relay_wide(workers).get_sample_value(name)
        assert found is not None
        return found

    own, here = own_use(), os.getpid()
    alone, several = [worker()] * WORKERS, [worker(here), worker(here), worker(retired_cpu=100.0)]
    for name in ("process_resident_memory_bytes", "process_open_fds"):
        assert 2.5 * value(alone, name) < value(several, name) < 3.5 * value(alone, name)
    assert value(several, "process_cpu_seconds_total") >= 100.0 + 2.5 * own.cpu
    started = "process_start_time_seconds"
    assert value(several, started) == value(alone, started)
