"""Scrapes a metrics page, and computes rates and quantiles from two scrapes."""

import time
import urllib.error
import urllib.request
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from fastrelay.config.metric_names import PREFIX

_TIMEOUT = 5.0

Labels = tuple[tuple[str, str], ...]


class PageUnavailable(Exception):
    """The URL has no metrics page of a relay. The text says what was found instead."""


class Scrape(NamedTuple):
    """The samples of one scrape.

    Attributes:
        taken_at: monotonic seconds.
        samples: the values by name and sorted labels.
    """

    taken_at: float
    samples: dict[tuple[str, Labels], float]

    def value(self, name: str, **labels: str) -> float:
        """The value of one sample; 0.0 if it does not exist."""
        return self.samples.get((name, tuple(sorted(labels.items()))), 0.0)

    def by_labels(self, name: str) -> dict[Labels, float]:
        """The values of all samples called ``name``, by labels."""
        return {labels: value for (known, labels), value in self.samples.items() if known == name}


def scrape(url: str) -> Scrape:
    """Scrape the metrics page at ``url``.

    Raises:
        PageUnavailable: it does not answer within 5 s, or is no metrics page of a relay.
    """
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as reply:  # noqa: S310
            text = reply.read().decode()
    except urllib.error.HTTPError as error:
        raise PageUnavailable(f"{url} answers with HTTP {error.code}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise PageUnavailable(f"{url} does not answer: {reason}") from None
    try:
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    except ValueError:
        samples = {}
    if not any(name.startswith(PREFIX) for name, _ in samples):
        raise PageUnavailable(f"{url} is no relay's metrics page")
    return Scrape(time.monotonic(), samples)


class ScrapeDelta(NamedTuple):
    """The difference between two scrapes."""

    before: Scrape
    after: Scrape

    def rate(self, name: str, **labels: str) -> float:
        """The growth of a counter per second; 0.0 if the relay restarted in between."""
        seconds = self.after.taken_at - self.before.taken_at
        growth = self.after.value(name, **labels) - self.before.value(name, **labels)
        return max(0.0, growth / seconds) if seconds > 0 else 0.0

    def quantile(self, name: str, share: float, **cell: str) -> float:
        """An upper bound of a quantile of the observations between the scrapes.

        Args:
            name: the histogram.
            share: the quantile, from 0 to 1.
            cell: the labels of the series of the histogram.

        Returns the upper bound of the bucket that contains the quantile: 0.0 without observations,
        infinity above the last bound.
        """
        growth = {
            float(dict(labels)["le"]): value - self.before.value(f"{name}_bucket", **dict(labels))
            for labels, value in self.after.by_labels(f"{name}_bucket").items()
            if cell.items() <= dict(labels).items()
        }
        bounds = sorted(growth)
        if not bounds or growth[bounds[-1]] <= 0:
            return 0.0
        rank = share * growth[bounds[-1]]
        return next(bound for bound in bounds if growth[bound] >= rank)
