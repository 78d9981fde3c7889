"""The private registry and its two text formats.

Series counts are exact: the library adds a ``_created`` sample to every counter and histogram,
which here would double what a dashboard sees, so collecting leaves them out. The library's global
registry is never touched.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder


class ExactRegistry(CollectorRegistry):
    """A registry whose samples are those the families name, and no others."""

    def collect(self) -> Iterable[Metric]:
        """Every family's samples, without the library's ``_created`` ones."""
        for metric in super().collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric


def render(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """A scrape's body and Content-Type: OpenMetrics if ``accept`` asks for it, else text."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
