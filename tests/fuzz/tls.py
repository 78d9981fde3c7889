"""Three TLS connections of one loop: whatever one of them is sent, the others lose no byte.

An input is a list of steps: what is said and written, where the ciphertext is cut, who writes to
whom while being read, whom the kernel takes nothing for. Two peers keep to the rules; one sends
what it likes. The oracle is each client's own TLS stack, and that the layers' shared BIOs are empty
after every step.
"""

import asyncio
import ssl
from typing import Final, cast

from fastrelay.loop.timer_wheel import TimerWheel
from tests.support.newcomers import unhurried_tls
from tests.support.record_keys import APPLICATION
from tests.support.record_session import LARGEST, Session13
from tests.support.tls_ends import (
    AboveByCopy,
    AboveInRoom,
    End,
    RecordClient,
    SslClient,
    TurnLoop,
)

SAY, ARRIVE, WRITE, HEAR, REACT, PAUSE, RESUME, TURN, STICK, TAKE, CLOSE, RECORD, UPDATE, BYTES = (
    range(14)
)
"""The steps. The first eleven are for each connection, the rest for the one that obeys no rule."""

STEPS: Final = 14
SIZES: Final = (1, 2, 7, 100, 1000, LARGEST, LARGEST + 1, 70_000)
STALL: Final = 30.0
EVIL: Final = 2
MOST_STEPS: Final = 200
WORDS = (
    *(b"\x2e\x16\x04\x18\0\0\x01", b"\x2e\x16\x04\x01\0\0\x80", b"\x2e\x15\x02\x02\x28"),
    *(
        b"\x2e\x17\x03abc",
        b"\x2f\0",
        b"\x2f\x01",
        b"\x30\x05\x17\3\3\0\1",
        b"\0\6\1\0",
        b"\7\0\3\0",
    ),
)


class Scene:
    """The three connections and what was done to them."""

    def __init__(self, choice: int, loop: TurnLoop) -> None:
        self.loop = loop
        self.wheel = TimerWheel(cast("asyncio.AbstractEventLoop", loop), 0.25)
        self.buffers = unhurried_tls(self.wheel, STALL)
        versions = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        self.evil = RecordClient("1.3" if choice & 1 else "1.2")
        clients = (SslClient(versions[choice >> 1 & 1]), SslClient(versions[choice >> 2 & 1]))
        room = memoryview(bytearray(256 * 1024))
        self.ends = [
            End(
                client,
                AboveInRoom(room) if choice >> (3 + number) & 1 else AboveByCopy(),
                self.buffers,
                loop,
            )
            for number, client in enumerate((*clients, self.evil))
        ]
        self.unruly = False
        """Whether the evil peer has sent what may end its connection."""

    def step(self, kind: int, end: End, argument: int, rest: bytes) -> bytes:
        """Do one step; returns what of the input is left."""
        size = SIZES[argument % len(SIZES)]
        if kind == SAY:
            data = pattern(end.said, self.ends.index(end), size)
            end.outbox += end.client.encrypt(data)
            end.said += data
        elif kind == ARRIVE:
            end.arrive(size)
        elif kind == WRITE:
            self.write(end, size)
        elif kind == HEAR:
            end.hear(size)
        elif kind == REACT:
            self.react(end, self.ends[argument % 3], argument // 3 % len(SIZES))
        elif kind == PAUSE and not end.wire.closing:
            end.layer.pause_reading()
        elif kind == RESUME and not end.wire.closing:
            end.layer.resume_reading()
        elif kind == TURN:
            self.loop.turn()
            self.loop.advance(STALL if argument == 0xFF else 0.0)
        elif kind == STICK:
            end.wire.stuck = True
        elif kind == TAKE:
            end.wire.take_again()
        elif kind == CLOSE:
            end.close()
        else:
            return self.misbehave(kind, argument, rest)
        return rest

    def write(self, end: End, size: int) -> None:
        """The protocol above writes."""
        end.write(pattern(end.written, ~self.ends.index(end) & 0xFF, size))

    def react(self, end: End, other: End, choice: int) -> None:
        """When more is passed on to ``end``, something happens to ``other`` at once."""
        if choice == 0:
            end.above.reactions.append(other.close)
        elif choice == 1:
            end.above.reactions.append(end.layer.pause_reading)
        else:
            end.above.reactions.append(lambda: self.write(other, SIZES[choice]))

    def misbehave(self, kind: int, argument: int, rest: bytes) -> bytes:
        """The third peer sends what no library would."""
        end, tls = self.ends[EVIL], self.evil.tls
        if kind == UPDATE:
            if isinstance(tls, Session13):
                end.outbox += tls.key_update(request=bool(argument & 1))
            return rest
        length, rest = (rest[0] if rest else 0), rest[1:]
        content, rest = rest[: length % 64], rest[length % 64 :]
        if kind == BYTES:
            self.unruly = True
            end.outbox += content
        elif argument == APPLICATION:
            end.outbox += tls.record(APPLICATION, content)
            end.said += content
        else:
            self.unruly = True
            end.outbox += tls.record(argument, content * (1 + 300 * (length >= 192)))
        return rest

    def check(self) -> None:
        """What holds after every step."""
        bios = self.buffers.bios
        assert not bios.incoming.pending
        assert not bios.outgoing.pending
        assert not self.loop.faults, self.loop.faults

    def finish(self) -> None:
        """Let everything arrive, and compare."""
        for end in self.ends:
            end.above.reactions.clear()
            end.wire.take_again()
            if not end.wire.closing:
                end.layer.resume_reading()
        while self.loop.turn() or any(self._arrives(end) for end in self.ends):
            self.check()
        for number, end in enumerate(self.ends):
            end.hear(len(end.wire.taken))
            obeys = number != EVIL or not self.unruly
            assert_served(end, obeys=obeys)

    @staticmethod
    def _arrives(end: End) -> bool:
        before = len(end.outbox)
        end.arrive(before)
        return len(end.outbox) < before


def assert_served(end: End, *, obeys: bool) -> None:
    """A peer and the protocol above it have got each other's bytes; if it obeys, all of them."""
    assert end.said.startswith(end.above.seen)
    assert end.written.startswith(end.understood)
    if end.ended:
        return
    if obeys:
        assert not end.wire.closing
        assert end.above.seen == end.said
        assert end.understood == end.written
    if not end.wire.closing:
        held = len(end.written) - len(end.understood)
        assert end.layer.get_write_buffer_size() == held


def pattern(before: bytes, salt: int, size: int) -> bytes:
    """Bytes that say whose they are and, nearly, where they belong."""
    start = len(before)
    line = bytes((salt + at * 7) & 0xFF for at in range(251))
    offset = start % len(line)
    return (line * (size // len(line) + 2))[offset : offset + size]


def one_input(data: bytes) -> None:
    """A byte chooses the versions and the protocols above, the rest are steps of two bytes."""
    if not data:
        return
    loop = TurnLoop()
    asyncio._set_running_loop(cast("asyncio.AbstractEventLoop", loop))
    try:
        scene, rest = Scene(data[0], loop), data[1:]
        for _ in range(MOST_STEPS):
            if len(rest) < 2:
                break
            kind, argument = rest[0], rest[1]
            end = scene.ends[kind // STEPS % 3]
            rest = scene.step(kind % STEPS, end, argument, rest[2:])
            scene.check()
        scene.finish()
    finally:
        asyncio._set_running_loop(None)
