"""The figures at the end of a soak, and whether they are what they must be."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.soak.tally import Tally
from bench.support.meter import Cost

MARGIN = 12 * 1024 * 1024
"""Bytes resident memory may end above its start: what allocators keep after a peak."""

_PREFIX = "pyrycode_relay_"
_DIRECTIONS = ("phone_to_binary", "binary_to_phone")
_REASONS = ("invalid", "no_peer", "backlog_full", "closing")


@dataclass
class Watch:
    """What was seen of the relay from outside while it ran.

    Attributes:
        costs: one a second, the first before any traffic, the last after all of it.
        lags: seconds each ``/healthz`` took, ten a second, on a connection kept open.
        held: most WebSockets at once.
    """

    costs: list[Cost]
    lags: list[float]
    held: int
    seconds: float


def figures(tally: Tally, watch: Watch, scraped: dict[str, float]) -> dict[str, Any]:
    """Everything that was measured, by name; sizes in bytes, times in seconds.

    ``lag`` is the relay's own: how late its timers ran, as the bound of the histogram's bucket
    (``None``: later than the last bound). ``answer`` is how long a plain request took from outside.
    """
    lags = sorted(watch.lags)
    memory = [cost.resident for cost in watch.costs]
    return {
        "seconds": round(watch.seconds),
        "connections_held_at_most": watch.held,
        "frames_checked": tally.checked,
        "frames_lost": tally.lost,
        "frames_wrong": tally.wrong,
        "upgrade_attempts": tally.answered.total() + tally.unanswered,
        "faults_injected": dict(sorted(tally.injected.items())),
        "memory_start": memory[0],
        "memory_peak": max(memory),
        "memory_end": memory[-1],
        "descriptors_start": watch.costs[0].descriptors,
        "descriptors_end": watch.costs[-1].descriptors,
        "cpu_seconds": round(watch.costs[-1].cpu - watch.costs[0].cpu, 2),
        "lag_p99_at_most": _at_most(scraped, 0.99),
        "lag_max_at_most": _at_most(scraped, 1.0),
        "answer_median": round(median(lags), 6),
        "answer_p99": round(lags[int(len(lags) * 0.99)], 6),
        "answer_max": round(lags[-1], 6),
    }


def _at_most(scraped: dict[str, float], share: float) -> float | None:
    """The least bound of the relay's event-loop lag that this share of its timers kept."""
    start, end = f'{_PREFIX}event_loop_lag_seconds_bucket{{le="', '"}'
    buckets = {
        float(name[len(start) : -len(end)]): count
        for name, count in scraped.items()
        if name.startswith(start)
    }
    enough = share * max(buckets.values())
    bound = min(bound for bound, count in buckets.items() if count >= enough)
    return None if bound == float("inf") else bound


def complaints(tally: Tally, watch: Watch, scraped: dict[str, float]) -> list[str]:
    """What must hold at the end and does not; empty when all is well."""
    found = list(tally.faults)
    if tally.lost or tally.wrong:
        found.append(f"{tally.lost} frames of honest peers lost, {tally.wrong} faults")
    if not tally.checked:
        found.append("no frame was checked")
    start, end = watch.costs[0], watch.costs[-1]
    if end.resident > start.resident + MARGIN:
        found.append(f"memory ends {(end.resident - start.resident) / 2**20:.1f} MiB higher")
    if end.descriptors > start.descriptors:
        found.append(f"{end.descriptors - start.descriptors} descriptors are still open")
    return found + _sums(tally, scraped)


def _sums(tally: Tally, scraped: dict[str, float]) -> list[str]:
    found = []
    for side in _DIRECTIONS:
        received = scraped[f'{_PREFIX}frames_received_total{{direction="{side}"}}']
        gone = scraped[f'{_PREFIX}frames_forwarded_total{{direction="{side}"}}'] + sum(
            scraped[f'{_PREFIX}frames_dropped_total{{direction="{side}",reason="{reason}"}}']
            for reason in _REASONS
        )
        if received != gone:
            found.append(f"{side}: {received:.0f} frames received, {gone:.0f} accounted for")
    counted = sum(v for k, v in scraped.items() if k.startswith(f"{_PREFIX}ws_upgrade_attempts"))
    if not tally.answered.total() <= counted <= tally.answered.total() + tally.unanswered:
        found.append(
            f"{counted:.0f} upgrade outcomes for {tally.answered.total()} attempts answered"
            f" and {tally.unanswered} given up"
        )
    for family in ("connected_binaries", "connected_phones"):
        if scraped[_PREFIX + family]:
            found.append(f"{scraped[_PREFIX + family]:.0f} {family} are left")
    return found


def table(values: dict[str, Any]) -> str:
    """The figures for people."""
    lines = []
    for name, value in values.items():
        if name == "faults_injected":
            lines.append(f"{name:<26}{sum(value.values())}")
            lines += [f"  {act:<24}{count}" for act, count in value.items()]
        elif name.startswith("memory"):
            lines.append(f"{name:<26}{value / 2**20:.1f} MiB")
        elif name.startswith(("answer", "lag")):
            shown = "over the last bound" if value is None else f"{value * 1000:.2f} ms"
            lines.append(f"{name:<26}{shown}")
        else:
            lines.append(f"{name:<26}{value}")
    return "\n".join(lines)
