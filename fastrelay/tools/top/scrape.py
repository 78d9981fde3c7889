"""Scrapes a metrics page, and computes rates and quantiles from two scrapes.

The page is read by a parser of our own. It takes the lines that have the form of a sample of a
relay and ignores all others, in time that grows with the length of the page alone.
"""

import asyncio
import re
import time
from typing import Final, NamedTuple

from fastrelay import __version__
from fastrelay.config.metric_names import PREFIX
from fastrelay.tools.support.connection import Unexpected, describe
from fastrelay.tools.support.endpoint import Endpoint
from fastrelay.tools.support.http_get import get

Labels = tuple[tuple[str, str], ...]

_MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""The most bytes of a page. That of a relay has some 20 KiB, and 400 bytes for each worker."""

_MAX_LINE: Final = 1000
_MAX_VALUE: Final = 1e18
"""Above this a value is no count, size or time, but a mistake."""

_PREFIXES: Final = (PREFIX, "process_")
_LINE: Final = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)", re.ASCII)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)', re.ASCII)
_ESCAPES: Final = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
_AGENT: Final = f"fastrelay-top/{__version__}"


class PageUnavailable(Exception):
    """The URL has no metrics page of a relay. The text says what was found and what to do."""


class Source(NamedTuple):
    """Where a metrics page is.

    Attributes:
        url: as the user gave it; printable.
        endpoint: the server.
        target: path and query.
        timeout: the seconds that one scrape may take.
    """

    url: str
    endpoint: Endpoint
    target: str
    timeout: float


class Scrape(NamedTuple):
    """The samples of one scrape.

    Attributes:
        taken_at: monotonic seconds.
        samples: the values by name and sorted labels: finite, and not negative.
    """

    taken_at: float
    samples: dict[tuple[str, Labels], float]

    def known(self, name: str, **labels: str) -> float | None:
        """The value of one sample; ``None`` if it does not exist."""
        return self.samples.get((name, tuple(sorted(labels.items()))))

    def value(self, name: str, **labels: str) -> float:
        """The value of one sample; 0.0 if it does not exist."""
        return self.known(name, **labels) or 0.0

    def by_labels(self, name: str, *keys: str) -> dict[Labels, float]:
        """The values of all samples called ``name`` that have exactly the labels ``keys``."""
        wanted = tuple(sorted(keys))
        return {
            labels: value
            for (known, labels), value in self.samples.items()
            if known == name and tuple(key for key, _ in labels) == wanted
        }


async def scrape(source: Source) -> Scrape:
    """Scrape a metrics page.

    Raises:
        PageUnavailable: it does not answer in time, or is no metrics page of a relay.
    """
    try:
        async with asyncio.timeout(source.timeout):
            answer = await get(source.endpoint, source.target, _AGENT, _MAX_BODY_BYTES)
    except Unexpected as error:
        raise PageUnavailable(f"{error.got}; {error.hint or _IS_IT_THERE}") from None
    except OSError as error:
        found = describe(error)
        if isinstance(error, TimeoutError) and error.errno is None:
            found = f"no whole answer within {source.timeout:g} s"
        raise PageUnavailable(f"{found}; {_IS_IT_THERE}") from None
    if answer.status != 200:
        raise PageUnavailable(f"HTTP {answer.status}; {_IS_IT_THERE}")
    samples = parse(answer.body.decode(errors="replace"))
    if not any(name.startswith(PREFIX) for name, _ in samples):
        raise PageUnavailable(f"this is no relay's metrics page; {_IS_IT_THERE}")
    return Scrape(time.monotonic(), samples)


_IS_IT_THERE: Final = "is a relay running there, and is this its --metrics-listen?"


def parse(page: str) -> dict[tuple[str, Labels], float]:
    """The samples of a page of text; of several with one name and labels the first."""
    samples: dict[tuple[str, Labels], float] = {}
    for line in page.split("\n"):
        if line.startswith(_PREFIXES) and len(line) <= _MAX_LINE:
            _parse_line(line, samples)
    return samples


def _parse_line(line: str, samples: dict[tuple[str, Labels], float]) -> None:
    found = _LINE.fullmatch(line.rstrip("\r"))
    if found is None:
        return
    name, between, text = found.groups()
    labels = _parse_labels(between or "")
    try:
        value = float(text)
    except ValueError:
        return
    if labels is not None and 0 <= value <= _MAX_VALUE:  # not for NaN either
        samples.setdefault((name, labels), value)


def _parse_labels(text: str) -> Labels | None:
    labels: dict[str, str] = {}
    position = 0
    while position < len(text):
        found = _LABEL.match(text, position)
        if found is None or found[1] in labels:
            return None
        labels[found[1]] = re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), found[2])
        position = found.end()
    return tuple(sorted(labels.items()))


class ScrapeDelta(NamedTuple):
    """The difference between two scrapes."""

    before: Scrape
    after: Scrape

    @property
    def restarted(self) -> bool:
        """Whether the relay was started again in between."""
        start = "process_start_time_seconds"
        if self.before.known(start) != self.after.known(start):
            return True
        return any(
            name.startswith(PREFIX) and name.endswith("_total") and value < known
            for (name, labels), known in self.before.samples.items()
            if (value := self.after.samples.get((name, labels))) is not None
        )

    def rate(self, name: str, **labels: str) -> float:
        """The growth of a counter per second; 0.0 if it is unknown, or went back."""
        seconds = self.after.taken_at - self.before.taken_at
        before, after = self.before.known(name, **labels), self.after.known(name, **labels)
        if before is None or after is None or seconds <= 0:
            return 0.0
        return max(0.0, (after - before) / seconds)

    def quantile(self, name: str, share: float, **cell: str) -> float:
        """An upper bound of a quantile of the observations between the scrapes.

        Args:
            name: the histogram.
            share: the quantile, from 0 to 1.
            cell: the labels of the series of the histogram.

        Returns the upper bound of the bucket that contains the quantile: 0.0 without observations,
        infinity above the last bound.
        """
        bucket = f"{name}_bucket"
        growth: dict[float, float] = {}
        for labels, value in self.after.by_labels(bucket, "le", *cell).items():
            if cell.items() <= dict(labels).items():
                before = self.before.samples.get((bucket, labels), 0.0)
                growth[_bound(dict(labels)["le"])] = value - before
        bounds = sorted(growth)
        if not bounds or growth[bounds[-1]] <= 0:
            return 0.0
        rank = share * growth[bounds[-1]]
        return next(bound for bound in bounds if growth[bound] >= rank)


def _bound(text: str) -> float:
    """The upper bound of a bucket; infinity if it is no number."""
    try:
        bound = float(text)
    except ValueError:
        return float("inf")
    return bound if bound >= 0 else float("inf")
