"""A connection whose read fills its buffer waits for the next loop iteration, against reading on.

Found (median round trip of others beside a flood, without against ours): 3 s against 2.2 ms beside
messages of one byte, 5 s against 4.3 beside empty fragments, 35 against 0.8 ms beside 4 KiB. CPU a
round trip is alike: 0.99 at 4,096 B x 8 in 21 pairs.
"""

import contextlib
import multiprocessing
import socket
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from typing import Final

from bench.compare.plan import BATCH, LARGE, MEDIUM
from bench.experiments.against import compare
from bench.load.pairs import Line
from bench.support.relay import OURS, running
from bench.support.wire import PONG, binary_handshake, client_frame, phone_handshake
from fastrelay.websocket.connection import Connection

LOADS = (BATCH, MEDIUM, LARGE)
_CHANGED: Final = OURS.replace("-m fastrelay", "-m bench.experiments.variant fair_turns")
_EMPTY_FRAGMENT: Final = b"\x00\x80\0\0\0\0"
_FLOODS: Final = {
    "messages of 1 byte": client_frame(b"1"),
    "empty fragments": _EMPTY_FRAGMENT,
    "empty pongs": client_frame(b"", PONG),
    "messages of 100 bytes": client_frame(b'"' + b"x" * 98 + b'"'),
    "messages of 4 KiB": client_frame(b'"' + b"x" * 4094 + b'"'),
    "messages of 65 kB": client_frame(b'"' + b"x" * 64998 + b'"'),
}
_BLOCK, _SECONDS, _PAUSE = 1_400_000, 4.0, 0.005


def change() -> None:
    """Read whatever is there, as often as the loop asks."""

    def get_buffer(self: Connection, sizehint: int) -> memoryview:
        return self._context.scheduler.whole

    def buffer_updated(self: Connection, nbytes: int) -> None:
        self._received(self._decoder.buffer_updated(nbytes))

    Connection.get_buffer = get_buffer  # type: ignore[method-assign]
    Connection.buffer_updated = buffer_updated  # type: ignore[method-assign]


def main() -> None:
    """Round trips beside each flood, then what it costs where there is none."""
    for flood, frame in _FLOODS.items():
        for name, command in (("shipped", OURS), ("changed", _CHANGED)):
            times = sorted(beside(command, frame))
            middle, late, longest = (
                times[min(int(len(times) * share), len(times) - 1)] * 1e3
                for share in (0.5, 0.99, 1.0)
            )
            print(
                f"beside {flood:<22} {name}   round trip, ms: "
                f"p50 {middle:8.1f}   p99 {late:8.1f}   longest {longest:8.1f}"
            )
    compare("fair_turns", sys.modules[__name__], rounds=7, seconds=0.4, count=0)


def beside(command: str, frame: bytes) -> list[float]:
    """Seconds of round trips while another home's phone sends ``frame`` without end."""
    spawn = multiprocessing.get_context("spawn")
    with running(command) as relay, _joined(relay.port, "calm") as (binary, phone):
        begun = spawn.Event()
        flooding = spawn.Process(target=_flood, args=(relay.port, frame, begun))
        flooding.start()
        begun.wait()
        message, times = client_frame(b'"hello"'), []
        end = time.perf_counter() + _SECONDS
        while time.perf_counter() < end:
            began = time.perf_counter()
            phone.sendall(message)
            binary.recv(4096)
            times.append(time.perf_counter() - began)
            time.sleep(_PAUSE)
        flooding.terminate()
        flooding.join()
    return times


def _flood(port: int, frame: bytes, begun: Event) -> None:
    """Send until terminated; whatever reaches the binary is thrown away."""
    block = frame * (_BLOCK // len(frame))
    with _joined(port, "flood") as (binary, phone):
        threading.Thread(target=_swallow, args=(binary,), daemon=True).start()
        if frame == _EMPTY_FRAGMENT:
            phone.sendall(b"\x01\x80\0\0\0\0")
        phone.sendall(block)
        begun.set()
        with contextlib.suppress(OSError):
            while True:
                phone.sendall(block)


def _swallow(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(1 << 20):
            pass


@contextlib.contextmanager
def _joined(port: int, server_id: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    line = Line(port)
    with (
        line.dial(binary_handshake(server_id)) as binary,
        line.dial(phone_handshake(server_id)) as phone,
    ):
        yield binary, phone
