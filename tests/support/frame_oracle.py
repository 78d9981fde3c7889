"""Our frame decoder beside wsproto's: told the same bytes, they must say the same.

Where they do not, :func:`assert_they_agree` names the reason; there is no other.
"""

from wsproto.frame_protocol import Frame, FrameProtocol, ParseFailed

from fastrelay.protocol.decoder import Closed, Control, FrameDecoder, Ping, Pong, Violation
from tests.support.peer import CLOSE, PING, PONG

LIMIT = 70_000


class Receiver:
    """A decoder fed as a connection does, the short way first, with all it said."""

    def __init__(self, limit: int = LIMIT, shared: int = 4096) -> None:
        self.decoder = FrameDecoder(memoryview(bytearray(shared)), limit)
        self.messages: list[bytes] = []
        self.controls: list[Control] = []

    def feed(self, data: bytes) -> "Receiver":
        view = memoryview(data)
        while view:
            room = self.decoder.get_buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self.messages += self.decoder.buffer_updated(count)
            view = view[count:]
        self.controls += self.decoder.take_controls()
        return self

    @property
    def close_code(self) -> int | None:
        """The code the connection would be failed with."""
        last = self.controls[-1] if self.controls else None
        return last.close.code if isinstance(last, Violation) else None


class _UpToDate(FrameProtocol):
    """Knows close code 1014, which was registered after wsproto's list was made."""

    def _process_close(self, frame: Frame) -> Frame:
        if frame.payload[:2] != b"\x03\xf6":
            return super()._process_close(frame)
        # As it judges 1013, its neighbour in the registry.
        judged = super()._process_close(frame._replace(payload=b"\x03\xf5" + frame.payload[2:]))
        return judged._replace(payload=(1014, judged.payload[1]))


class Oracle:
    """wsproto's frame protocol, told the same, up to the end of the stream."""

    def __init__(self) -> None:
        self.protocol = _UpToDate(client=False, extensions=[])
        self.messages: list[bytes] = []
        self.controls: list[Control] = []
        self.failed: int | None = None
        self.ended = False
        self._parts: list[bytes] = []
        self._control = b""

    def feed(self, data: bytes) -> None:
        if self.ended:
            return
        self.protocol.receive_bytes(data)
        try:
            for frame in self.protocol.received_frames():
                self._take(frame)
                if self.ended:
                    return
        except ParseFailed as fault:
            self.failed, self.ended = int(fault.code), True

    def _take(self, frame: object) -> None:
        opcode, payload = int(frame.opcode), frame.payload  # type: ignore[attr-defined]
        if opcode == CLOSE:
            # It reads an empty body as 1005, "no status".
            self.controls.append(Closed(None if payload[0] == 1005 else int(payload[0])))
            self.ended = True
        elif opcode in (PING, PONG):
            self.controls.append((Ping if opcode == PING else Pong)(bytes(payload)))
        else:
            self._parts.append(payload.encode() if isinstance(payload, str) else bytes(payload))
            if frame.message_finished:  # type: ignore[attr-defined]
                self.messages.append(b"".join(self._parts))
                self._parts = []
            elif self._surrogate_begun():
                self.failed, self.ended = 1007, True

    def _surrogate_begun(self) -> bool:
        """Whether what it holds back can become no character; it waits for the third byte."""
        decoder = self.protocol._message_decoder.decoder
        return decoder is not None and b"\xed\xa0" <= decoder.getstate()[0] < b"\xee"


def assert_they_agree(ours: Receiver, theirs: Oracle) -> None:
    """The same messages, control frames and verdict, but for what is explained here."""
    said = [control for control in ours.controls if not isinstance(control, Violation)]
    if ours.close_code == 1002:
        # It judges a header when it has the whole of it, we as it comes.
        theirs.feed(bytes(14))
    if ours.close_code == 1009:
        # It has no limit on a message: it reads on, or waits for what was announced.
        assert ours.messages == theirs.messages[: len(ours.messages)]
        return
    assert ours.messages == theirs.messages
    assert said == theirs.controls
    if theirs.failed == 1007 and ours.close_code is None:
        # It looks at UTF-8 as it comes, we when the frame is whole.
        assert ours.decoder.unfinished
        return
    assert ours.close_code == theirs.failed
