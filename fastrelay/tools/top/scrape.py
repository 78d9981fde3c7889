"""Two scrapes of a metrics page, and what happened between them."""

import time
import urllib.error
import urllib.request
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from fastrelay.config.metric_names import PREFIX

_TIMEOUT = 5.0

Labels = tuple[tuple[str, str], ...]


class PageUnavailable(Exception):
    """Nothing to show; the text says what was found instead."""


class Scrape(NamedTuple):
    """One look.

    Attributes:
        taken_at: seconds of a clock that only goes forward.
        samples: values by name and labels.
    """

    taken_at: float
    samples: dict[tuple[str, Labels], float]

    def value(self, name: str, **labels: str) -> float:
        """One sample; 0.0 if there is none."""
        return self.samples.get((name, tuple(sorted(labels.items()))), 0.0)

    def by_labels(self, name: str) -> dict[Labels, float]:
        """Every sample of a family."""
        return {labels: value for (known, labels), value in self.samples.items() if known == name}


def scrape(url: str) -> Scrape:
    """Look at the page.

    Raises:
        PageUnavailable: it does not answer, or is not a relay's.
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
    """What happened from one look to the next."""

    before: Scrape
    after: Scrape

    def rate(self, name: str, **labels: str) -> float:
        """A counter's growth a second; 0.0 when it began anew."""
        seconds = self.after.taken_at - self.before.taken_at
        growth = self.after.value(name, **labels) - self.before.value(name, **labels)
        return max(0.0, growth / seconds) if seconds > 0 else 0.0

    def quantile(self, name: str, share: float, **cell: str) -> float:
        """The upper bound of the histogram bucket that ``share`` of the new observations reach,
        of the cells with the labels ``only``.

        0.0 without any; infinity beyond the last bound.
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
