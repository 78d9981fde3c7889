"""The frame codec: whatever comes, in whatever pieces, beside wsproto's frame protocol."""

from fastrelay.protocol.decoder import Closed, Violation
from tests.fuzz.chunks import cut
from tests.support.frame_oracle import Oracle, Receiver, assert_they_agree

WORDS = (
    *(b"\x81\x80\0\0\0\0", b"\x01\x81\0\0\0\0\xe2", b"\x80\x82\0\0\0\0\x82\xac"),
    *(b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0", b"\x88\x80\0\0\0\0", b"\x88\x82\0\0\0\0\x03\xe8"),
    *(b"\x81\xfe\x00\x7e\0\0\0\0", b"\x82\xff\0\0\0\0\0\1\0\0", b"\x00\x80\0\0\0\0"),
)
LIMITS = (125, 126, 130, 300, 70_000)
BUFFERS = (1, 14, 100, 4096)
PLAN_BYTES = 3


def one_input(data: bytes) -> None:
    """Two bytes choose the limit and the receive buffer, three the pieces; the rest is read."""
    if len(data) < 2 + PLAN_BYTES:
        return
    limit, buffer = LIMITS[data[0] % len(LIMITS)], BUFFERS[data[1] % len(BUFFERS)]
    plan, stream = data[2 : 2 + PLAN_BYTES], data[2 + PLAN_BYTES :]
    whole = Receiver(limit, shared=4096).feed(stream)
    ours, theirs = Receiver(limit, shared=buffer), Oracle()
    for piece in cut(plan, stream):
        assert len(ours.decoder.get_buffer())
        ours.feed(piece)
        theirs.feed(piece)
    assert (ours.messages, ours.controls) == (whole.messages, whole.controls)
    assert ours.decoder.unfinished == whole.decoder.unfinished
    assert all(len(message) <= limit for message in ours.messages)
    assert_ends_once(ours)
    assert_they_agree(ours, theirs)


def assert_ends_once(received: Receiver) -> None:
    """A close frame or a violation is the last that is said, and nothing is kept."""
    ends = [isinstance(control, Closed | Violation) for control in received.controls]
    assert not any(ends[:-1])
    if not any(ends):
        return
    assert not received.decoder.unfinished
    said = len(received.messages), len(received.controls)
    received.feed(b"\x81\x81\0\0\0\0!")
    assert (len(received.messages), len(received.controls)) == said
