"""The private Prometheus registry and its two text formats.

The number of series is exact (protocol, metrics). The library adds a ``_created`` sample to every
counter and histogram, which would double the series, so the registry leaves those samples out. The
library's global registry is never used.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder


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
        accept: the value of the request's Accept header. The format is OpenMetrics if it asks for
            that, otherwise Prometheus text.
    """
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
