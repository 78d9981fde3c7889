"""Decodes frames from client to server (RFC 6455 §5), without I/O: bytes in, messages out.

Bytes are read into one receive buffer that all connections of an event loop share. A frame that is
not complete at the end of a read is copied into a buffer of its decoder. This buffer grows with the
bytes that have arrived, and never with the length that a header announces. The decoder of an idle
connection has no such buffer.
"""

from codecs import utf_8_decode
from typing import Final, NamedTuple

from fastrelay.protocol.close_codes import (
    INVALID_UTF8,
    TOO_BIG,
    CloseReason,
    is_valid_on_wire,
    protocol_error,
)
from fastrelay.protocol.frames import MAX_CONTROL_PAYLOAD, Opcode, parse_close_code
from fastrelay.protocol.masking import unmask

_FIN_BINARY: Final = int(0x80 | Opcode.BINARY)
_WHOLE: Final = (int(0x80 | Opcode.TEXT), _FIN_BINARY)
PIECE_BYTES: Final = 64 * 1024
PIECE_FRAMES: Final = 128
"""The limits of one piece of a large read: it ends after this number of bytes or frames. A piece
takes a fraction of a millisecond, whatever its frames are, and is large enough to be written as a
batch."""

_KNOWN_OPCODES: Final = frozenset(Opcode)


class Ping(NamedTuple):
    """A ping, which asks for a pong with the same payload."""

    payload: bytes


class Pong(NamedTuple):
    """A pong, whether or not there was a ping."""

    payload: bytes


class Closed(NamedTuple):
    """The peer's close frame. ``code`` is ``None`` when its body was empty."""

    code: int | None


class Violation(NamedTuple):
    """The peer broke RFC 6455 or a limit; ``close`` is the close that tells the peer."""

    close: CloseReason


Control = Ping | Pong | Closed | Violation


class FrameDecoder:
    """Decodes the frames that one connection receives.

    It is used like an ``asyncio.BufferedProtocol``: put bytes at the start of :meth:`get_buffer`,
    then call :meth:`buffer_updated` with their number. It returns messages at once. Control frames
    are kept in :attr:`controls` until :meth:`take_controls` is called. The end of the stream, a
    close frame or a violation, is kept there as well, and is always the last entry: all bytes after
    it are ignored.

    Attributes:
        idle: nothing is unfinished, no control frame waits, and the stream has not ended.
        useless: the pings, pongs and empty fragments since the caller last set it to 0.
        unfinished: a frame or a fragmented message has begun and has not ended.

    Args:
        shared: the receive buffer that all decoders of one loop share; its content is only read
            during a call that decodes.
        max_message: the most bytes of an assembled message; at least 125, because lengths in the
            short form are not checked against it.
    """

    __slots__ = (
        "_ended",
        "_fragments",
        "_max_message",
        "_needed",
        "_partial",
        "_shared",
        "_utf8_tail",
        "controls",
        "idle",
        "unfinished",
        "useless",
    )

    def __init__(self, shared: memoryview, max_message: int) -> None:
        self._shared = shared
        self._max_message = max_message
        self._partial: bytearray | None = None
        self._needed = 0
        self._fragments: bytearray | None = None
        # The first bytes of a character that continues in the next fragment; None: not text.
        self._utf8_tail: bytes | None = None
        self._ended = False
        self.controls: list[Control] | None = None
        self.idle = True
        self.unfinished = False
        self.useless = 0

    def get_buffer(self) -> memoryview:
        """The buffer for the next bytes; never empty."""
        return self._shared

    def buffer_updated(self, count: int) -> list[bytes]:
        """Decode ``count`` bytes at the start of the buffer; returns the messages they complete."""
        view = self._shared
        # Nearly every read of a conversation is one whole ASCII message and nothing else: that
        # takes no loop and no state (bench/experiments/short_way.py). Anything else is left to
        # _decode before anything has been done.
        if self.idle and count > 5 and view[0] in _WHOLE:
            length = view[1] - 0x80
            if length < 126:
                payload_at = 6
            elif length == 126 and (length := view[2] << 8 | view[3]) > 125:
                payload_at = 8
            else:
                payload_at = count + 1  # a 64-bit length, or not the shortest form: no match
            if payload_at + length == count and length <= self._max_message:
                message = unmask(view[payload_at:count], view[payload_at - 4 : payload_at])
                if message.isascii():
                    return [message]
        messages, position = self._decode_from(view, 0, count, count)
        while position < count:
            more, position = self._decode_from(view, position, count, count)
            messages += more
        return messages

    def decode_piece(self, data: memoryview, position: int) -> tuple[list[bytes], int]:
        """Decode a part of ``data`` from ``position`` on.

        Returns the messages that end there, and the position behind what was decoded. A part is at
        most :data:`PIECE_FRAMES` frames that begin within :data:`PIECE_BYTES` bytes.
        """
        end = len(data)
        return self._decode_from(data, position, end, min(end, position + PIECE_BYTES))

    def _decode_from(
        self, view: memoryview, position: int, end: int, stop_at: int
    ) -> tuple[list[bytes], int]:
        """Decode ``view[position:end]``: some frames that begin before ``stop_at``."""
        if self._partial is None:
            return self._decode(view, position, end, stop_at)
        messages: list[bytes] = []
        while position < stop_at and (partial := self._partial) is not None:
            # Only what the partial frame lacks is copied; the rest is decoded in place.
            upto = min(end, position + self._needed - len(partial))
            partial += view[position:upto]
            position = upto
            if len(partial) < self._needed:
                return messages, position
            whole = memoryview(partial)
            messages += self._decode(whole, 0, len(whole), len(whole))[0]
        if position < stop_at:
            decoded, position = self._decode(view, position, end, stop_at)
            messages += decoded
        return messages, position

    def feed(self, data: bytes) -> list[bytes]:
        """:meth:`buffer_updated` for bytes that already lie elsewhere, of any number."""
        messages: list[bytes] = []
        view = memoryview(data)
        while view:
            room = self.get_buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            messages += self.buffer_updated(count)
            view = view[count:]
        return messages

    @property
    def held(self) -> int:
        """Bytes of memory of unfinished frames and messages, with the reserve of their buffers."""
        held = 0 if self._partial is None else self._partial.__sizeof__()
        return held if self._fragments is None else held + self._fragments.__sizeof__()

    def discard(self) -> None:
        """Forget unfinished frames and messages; all bytes that arrive later are ignored."""
        self._ended = True
        self._partial = self._fragments = None
        self.unfinished = self.idle = False

    def take_controls(self) -> list[Control]:
        """The control frames decoded since the last call, in the order they came."""
        controls, self.controls = self.controls, None
        self.idle = not self.unfinished and not self._ended
        return controls or []

    def _decode(
        self, view: memoryview, position: int, end: int, stop_at: int
    ) -> tuple[list[bytes], int]:
        """Decode whole frames in ``view[position:end]``; keep a partial one at the end."""
        # The common frame (whole, unfragmented, text or binary) needs no call but unmasking.
        messages: list[bytes] = []
        needed, limit, is_plain = 2, self._max_message, True
        last = position if self._ended else min(stop_at, end - 1)
        for _ in range(PIECE_FRAMES):
            if position >= last:
                break
            head, length = view[position], view[position + 1] - 0x80
            whole = head in _WHOLE and self._fragments is None
            if (not whole or length < 0) and (fault := self._header_fault(head, length)):
                self._end(Violation(fault))
                break
            mask_at = length_at = position + 2
            if length > 125:
                wide = length == 127
                mask_at += 8 if wide else 2
                if mask_at > end:
                    needed = mask_at - position
                    break
                # from_bytes() costs three times as much as what the usual length takes.
                usual = view[length_at] << 8 | view[length_at + 1]
                length = int.from_bytes(view[length_at:mask_at]) if wide else usual
                if (wide or length < 126 or length > limit or not whole) and (
                    fault := self._length_fault(length, mask_at - position)
                ):
                    self._end(Violation(fault))
                    break
            payload_at = mask_at + 4
            stop = payload_at + length
            if stop > end:
                needed = stop - position
                break
            payload = unmask(view[payload_at:stop], view[mask_at:payload_at])
            position = stop
            if whole and (head == _FIN_BINARY or payload.isascii() or self._check_utf8(payload)):
                messages.append(payload)
                continue
            is_plain = False
            if whole or self._control_or_fragment(head, payload, messages):
                break
        else:
            stop_at = position  # that were all frames of a piece; what follows is not partial
        rest = view[position:end] if position < stop_at else None
        if rest or not is_plain or self._partial is not None:
            self._keep(rest, needed)
        return messages, position if rest is None else end

    def _keep(self, rest: memoryview | None, needed: int) -> None:
        """Keep the beginning of a frame, of which ``needed`` bytes are needed to decode on."""
        if rest and not self._ended:
            # Grows with the bytes that come: a peer that announces 256 KiB and sends ten bytes
            # makes the relay hold ten.
            self._partial = bytearray(rest)
            self._needed = needed
        else:
            self._partial = None
        self.unfinished = self._partial is not None or self._fragments is not None
        self.idle = not self.unfinished and not self._ended and self.controls is None

    def _header_fault(self, head: int, length: int) -> CloseReason | None:
        """How a header breaks RFC 6455 §5; ``length`` is its 7-bit length, negative if unmasked."""
        opcode = head & 0x0F
        if head & 0x70:
            return protocol_error("reserved bit set")
        if opcode not in _KNOWN_OPCODES:
            return protocol_error("reserved opcode")
        if length < 0:
            return protocol_error("frame not masked")
        if opcode & 0x08:
            if not head & 0x80:
                return protocol_error("fragmented control frame")
            if length > MAX_CONTROL_PAYLOAD:
                return protocol_error("control frame too long")
        elif opcode == Opcode.CONTINUATION:
            if self._fragments is None:
                return protocol_error("nothing to continue")
        elif self._fragments is not None:
            return protocol_error("message inside a message")
        return None

    def _length_fault(self, length: int, header_size: int) -> CloseReason | None:
        """The fault of a length that is not in its shortest form (§5.2) or over the limit."""
        shortest = 2 if length < 126 else 4 if length < 65536 else 10
        if header_size > shortest or length >> 63:
            return protocol_error("bad length")
        assembled = 0 if self._fragments is None else len(self._fragments)
        return TOO_BIG if assembled + length > self._max_message else None

    def _control_or_fragment(self, head: int, payload: bytes, messages: list[bytes]) -> bool:
        """Process a control frame, or a fragment; returns whether the stream has ended."""
        if head & 0x08:
            self._control(head & 0x0F, payload)
        else:
            self._fragment(head, payload, messages)
        return self._ended

    def _fragment(self, head: int, payload: bytes, messages: list[bytes]) -> None:
        """Process a fragment of a message (§5.4)."""
        if self._fragments is None:
            # One growing buffer and not a list, so that empty fragments take no memory.
            self._fragments = bytearray()
            self._utf8_tail = b"" if head == Opcode.TEXT else None
        if len(self._fragments) + len(payload) > self._max_message:
            self._end(Violation(TOO_BIG))
            return
        final = bool(head & 0x80)
        if self._utf8_tail is not None and not self._check_fragment(payload, final):
            return
        if not payload and not final:
            self.useless += 1
        self._fragments += payload
        if final:
            messages.append(bytes(self._fragments))
            self._fragments = None

    def _check_utf8(self, payload: bytes) -> bool:
        """Whether a text message is valid UTF-8 (§8.1); ends the stream if it is not."""
        try:
            payload.decode()
        except UnicodeDecodeError:
            self._end(Violation(INVALID_UTF8))
            return False
        return True

    def _check_fragment(self, payload: bytes, final: bool) -> bool:
        """Whether a text message may still become valid UTF-8; ends the stream if it cannot.

        So a long message fails with the fragment that holds the first impossible byte (§8.1).
        """
        self._utf8_tail = _incomplete_utf8((self._utf8_tail or b"") + payload, final)
        if self._utf8_tail is None:
            self._end(Violation(INVALID_UTF8))
        return not self._ended

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.CLOSE:
            self._end(_read_close(payload))
            return
        self.useless += 1
        self._add(Ping(payload) if opcode == Opcode.PING else Pong(payload))

    def _add(self, control: Control) -> None:
        if self.controls is None:
            self.controls = []
        self.controls.append(control)

    def _end(self, control: Closed | Violation) -> None:
        self._add(control)
        self._ended = True
        self._fragments = None


def _incomplete_utf8(text: bytes, final: bool) -> bytes | None:
    """The incomplete character at the end of ``text``; ``None`` if ``text`` cannot be UTF-8."""
    try:
        _, complete = utf_8_decode(text, "strict", final)
    except UnicodeDecodeError:
        return None
    cut = text[complete:]
    # The codec refuses surrogates only at their third byte, but two bytes show that it is one.
    return None if b"\xed\xa0" <= cut < b"\xee" else cut


def _read_close(payload: bytes) -> Closed | Violation:
    """Read the body of a close frame: empty, or a valid code and a UTF-8 reason (§5.5.1)."""
    if not payload:
        return Closed(None)
    if len(payload) == 1:
        return Violation(protocol_error("bad close frame"))
    code = parse_close_code(payload)
    if not is_valid_on_wire(code):
        return Violation(protocol_error("bad close code"))
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return Violation(INVALID_UTF8)
    return Closed(code)
