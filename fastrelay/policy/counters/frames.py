"""Counts data frames by direction and by what happened to them.

They are counted once per batch in the hot path, where one ``inc()`` of the Prometheus library would
cost more than the routing of a frame. The counts are therefore plain integers. For each of them,
one place in the code increases it.
"""

from typing import Final

from fastrelay.policy.cells import PRIVATE, Cells


class DirectionCounts:
    """The data frames of one direction. Each received frame is forwarded, dropped or still queued.

    Attributes:
        received: complete messages received, whatever happened to them.
        forwarded: frames handed to the other side's socket.
        forwarded_bytes: bytes handed to the other side's socket: frames with their headers,
            envelopes, and close notices.
        invalid: dropped because a phone's message is not JSON, or a binary's is no envelope.
        no_peer: dropped because the server-id has no connected binary, or no phone has the
            envelope's ``conn_id``.
        backlog_full: dropped together with the backlog of a phone that read too slowly.
        closing: dropped because they came or were queued while one of the connections was closing.
        sample_at: the value of ``received`` at which the next read is timed.
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
        """Note that the current read is timed; the next comes :data:`SAMPLE_EVERY` frames later."""
        self.sample_at = self.received + SAMPLE_EVERY


SAMPLE_EVERY: Final = 251
"""Frames from one timed read to the next. Timing a read costs about 2 µs, so 0.01 µs per frame.

The number is prime so that connections that send by turns are all sampled.
"""


class FrameCounts:
    """The counts of both directions."""

    def __init__(self, cells: Cells = PRIVATE) -> None:
        self.phone_to_binary = cells.record(DirectionCounts)
        self.binary_to_phone = cells.record(DirectionCounts)
