"""The private Prometheus registry and its two text formats.

The number of series is exact (protocol, metrics). The library adds a ``_created`` sample to every
counter and histogram, which would double the series, so the registry leaves those samples out. The
library's global registry is never used.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from fastrelay.http.accept import preference

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class ExactRegistry(CollectorRegistry):
    """A registry without ``_created`` samples."""

    def collect(self) -> Iterable[Metric]:
        """All families, without the ``_created`` samples that the library adds."""
        for metric in super().collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric


def render(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The body and the Content-Type of a scrape.

    Args:
        accept: the value of the request's Accept header. The format is OpenMetrics if that is asked
            for by its name, and no less than Prometheus text; or if text is wanted less. A client
            that wants neither gets text.
    """
    text = preference(accept, "text/plain", "0.0.4")
    wanted = preference(accept, "application/openmetrics-text", "1.0.0")
    is_asked_for = wanted.is_named and wanted.quality >= text.quality > 0
    if is_asked_for or wanted.quality > text.quality:
        page: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return page, _OPENMETRICS
    return generate_latest(registry), _TEXT
