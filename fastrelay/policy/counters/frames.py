"""Frames that went through, and frames that did not, by direction and reason.

These are counted per batch in the hot path, where one ``inc()`` of the library would cost more
than the routing of a frame. So the counts are plain integers, each with one owner, and the
family reads them when it is scraped.
"""

from typing import Final


class DirectionCounts:
    """Data frames of one direction: each that came in is forwarded, dropped, or still queued.

    Attributes:
        received: came in whole, whatever became of them.
        forwarded: handed to the other side's socket.
        forwarded_bytes: what those came to on the wire, with headers, envelopes and notices.
        invalid: a phone's that is not JSON, a binary's that is no envelope.
        no_peer: nobody there: no binary, or an unknown ``conn_id``.
        backlog_full: dropped with the backlog of a phone that was too slow.
        closing: came or waited while one of the two connections ended.
        sample_at: how many must have been received for the next read to be timed.
    """

    __slots__ = (
        "backlog_full",
        "closing",
        "forwarded",
        "forwarded_bytes",
        "invalid",
        "no_peer",
        "received",
        "sample_at",
    )

    def __init__(self) -> None:
        self.received = 0
        self.forwarded = 0
        self.forwarded_bytes = 0
        self.invalid = 0
        self.no_peer = 0
        self.backlog_full = 0
        self.closing = 0
        self.sample_at = 0

    def sample(self) -> None:
        """The read that comes now is timed, the next only :data:`SAMPLE_EVERY` frames on."""
        self.sample_at = self.received + SAMPLE_EVERY


SAMPLE_EVERY: Final = 251
"""Frames between two that are timed: timing a read costs about 2 µs, so 0.01 µs a frame. A prime,
so as not to keep step with connections that take turns."""


class FrameCounts:
    """The relay's two directions."""

    def __init__(self) -> None:
        self.phone_to_binary = DirectionCounts()
        self.binary_to_phone = DirectionCounts()
