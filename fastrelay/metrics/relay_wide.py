"""The metrics of a relay with several processes: sums over all, and families of each worker."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fastrelay.config.metric_names import PREFIX
from fastrelay.metrics import expose_counters
from fastrelay.metrics.exposition import ExactRegistry
from fastrelay.metrics.process import ProcessMetrics, ProcessUse, own_use, use_of
from fastrelay.metrics.state import State, expose_state
from fastrelay.metrics.upgrades import UpgradeMetrics
from fastrelay.policy.shared.layout import Sums


class WorkerState(NamedTuple):
    """One worker.

    Attributes:
        pid: of its process; 0: there is none.
        is_up: whether it serves.
        restarts: how often it was started again.
        connections: its live WebSockets.
        lag: seconds by which its last tick was late.
        retired_cpu: seconds of CPU that its earlier processes, which have died, used.
    """

    pid: int
    is_up: bool
    restarts: int
    connections: int
    lag: float
    retired_cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayWide:
    """What the supervisor shows.

    Attributes:
        sums: over all processes.
        held_limit: the budget of held bytes.
        certificate_expiry: see :class:`State`.
        has_push: whether there is a family of wakes.
        workers: returns the workers in their order.
    """

    sums: Sums
    held_limit: int
    certificate_expiry: Callable[[], float] | None
    has_push: bool
    workers: Callable[[], list[WorkerState]]


class _SummedRegistry(ExactRegistry):
    """Adds up the counts of all processes before each scrape."""

    def __init__(self, sums: Sums) -> None:
        super().__init__(auto_describe=True)
        self._sums = sums

    def collect(self) -> Iterable[Metric]:
        self._sums.refresh()
        yield from super().collect()


def expose_relay_wide(shown: RelayWide) -> CollectorRegistry:
    """The registry with all families."""
    sums = shown.sums
    registry = _SummedRegistry(sums)
    expose_counters(sums.counters, registry)
    UpgradeMetrics(registry, sums.counters.upgrades)
    state = State(
        counters=sums.counters,
        connected=sums.gauges.connected,
        held=lambda: list(sums.gauges.held),
        held_limit=shown.held_limit,
        log_lines=lambda: (sums.gauges.log_lines[0], sums.gauges.log_lines[1]),
        certificate_expiry=shown.certificate_expiry,
    )
    process = ProcessMetrics(lambda: use_of_all(shown.workers()))
    expose_state(state, process, registry, has_push=shown.has_push)
    registry.register(WorkerMetrics(shown.workers))
    return registry


class WorkerMetrics(Collector):
    """The families of each worker; all series exist from the start."""

    def __init__(self, workers: Callable[[], list[WorkerState]]) -> None:
        self._workers = workers

    def collect(self) -> Iterable[Metric]:
        """The families with their current values."""
        labels = ["worker"]
        up = GaugeMetricFamily(f"{PREFIX}worker_up", "Whether it serves.", labels=labels)
        restarts = CounterMetricFamily(
            f"{PREFIX}worker_restarts", "How often it was started again.", labels=labels
        )
        connections = GaugeMetricFamily(
            f"{PREFIX}worker_connections", "Its live WebSockets.", labels=labels
        )
        lag = GaugeMetricFamily(
            f"{PREFIX}worker_loop_lag_seconds", "How late its last tick was.", labels=labels
        )
        cpu = CounterMetricFamily(
            f"{PREFIX}worker_cpu_seconds", "CPU time of its processes.", labels=labels
        )
        for place, worker in enumerate(self._workers()):
            name = [str(place)]
            up.add_metric(name, worker.is_up)
            restarts.add_metric(name, worker.restarts)
            connections.add_metric(name, worker.connections)
            lag.add_metric(name, worker.lag)
            now = use_of(worker.pid) if worker.pid else None
            cpu.add_metric(name, worker.retired_cpu + (now.cpu if now is not None else 0.0))
        yield from (up, restarts, connections, lag, cpu)


def use_of_all(workers: list[WorkerState]) -> ProcessUse:
    """What this process and the workers use together; their CPU time never falls."""
    found = [use_of(worker.pid) for worker in workers if worker.pid]
    uses = [own_use(), *(use for use in found if use is not None)]
    return ProcessUse(
        sum([use.cpu for use in uses]) + sum([worker.retired_cpu for worker in workers]),
        sum([use.virtual for use in uses]),
        sum([use.resident for use in uses]),
        sum([use.descriptors for use in uses]),
    )
