"""Connections that say nothing: what one costs in memory, and what its upgrade costs.

They are held until dropped, and answer pings, as a phone in a pocket does.
"""

import resource
import selectors
import socket
import ssl
import time

from bench.load.pairs import Line, Wrong, upgraded
from bench.load.storm import reconnect
from bench.support.meter import measure
from bench.support.wire import CLOSE, PING, PONG, binary_handshake, client_frame, phone_handshake

PHONES = 8
"""Of each binary: half of what it may have, so that a reconnecting phone finds room beside the
connection it has lost."""

WAVE = 64
"""Upgrades on their way at once."""

_SETTLE = 0.25
"""Seconds until nothing of what was asked for is still being done."""


class Crowd:
    """Idle connections to one relay.

    Args:
        pid: the relay, whose cost is read.
    """

    def __init__(self, line: Line, pid: int) -> None:
        self._line = line
        self._pid = pid
        self._homes = 0
        self._hellos: dict[socket.socket, bytes] = {}
        self._phones: list[socket.socket] = []
        self._lost = 0
        self.selector = selectors.DefaultSelector()
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def connect(self, count: int) -> dict[str, float]:
        """So many more, in waves as after a restart; bytes and CPU a connection.

        Raises:
            Wrong: a connection was refused, or one that was held was closed.
        """
        self.check()
        time.sleep(_SETTLE)
        before, began = measure(self._pid), time.perf_counter()
        for hellos in self._make_hellos(count):
            for begin in range(0, len(hellos), WAVE):
                self._upgrade(hellos[begin : begin + WAVE])
        seconds = time.perf_counter() - began
        time.sleep(_SETTLE)
        after = measure(self._pid)
        return {
            "memory": (after.resident - before.resident) / count,
            "cpu_upgrade": (after.cpu - before.cpu) / count,
            "upgrades": count / seconds,
            "resident": float(after.resident),
            "held": float(len(self._hellos)),
        }

    def storm(self) -> dict[str, float]:
        """All phones lose their connection and come back at once; their binaries stay.

        Raises:
            Wrong: one did not come back.
        """
        self.check()
        lost, self._phones = self._phones, []
        hellos = [self._hellos.pop(sock) for sock in lost]
        before, began = measure(self._pid), time.perf_counter()
        for sock in lost:
            self.selector.unregister(sock)
            sock.close()
        sockets, redialled = reconnect(self._line, hellos)
        for sock, hello in zip(sockets, hellos, strict=True):
            self._hold(sock, hello)
        seconds = time.perf_counter() - began
        time.sleep(_SETTLE)
        after = measure(self._pid)
        self.check()
        return {
            "seconds": seconds,
            "redialled": float(redialled),
            "upgrades": len(hellos) / seconds,
            "cpu_upgrade": (after.cpu - before.cpu) / len(hellos),
            "held": float(len(self._hellos)),
        }

    def churn(self, rate: float, seconds: float) -> dict[str, float]:
        """Phones that come and go at once, so many a second.

        Raises:
            Wrong: one was refused.
        """
        self.check()
        hello = phone_handshake("idle-0")
        begin, count = time.perf_counter(), round(rate * seconds)
        for number in range(count):
            while (wait := begin + number / rate - time.perf_counter()) > 0:
                self.serve(wait)
            self._line.dial(hello).close()
        return {"churned": float(count)}

    def check(self) -> None:
        """Read what has come to those that are held.

        Raises:
            Wrong: one of them was closed.
        """
        while self.serve(0.0):
            pass
        if self._lost:
            raise Wrong(f"{self._lost} idle connections were closed")

    def serve(self, wait: float) -> int:
        """Answer the pings that have come or come in so many seconds; how many sockets had any."""
        ready = self.selector.select(wait)
        for key, _ in ready:
            if isinstance(key.fileobj, socket.socket):
                self._answer(key.fileobj)
        return sum(isinstance(key.fileobj, socket.socket) for key, _ in ready)

    def drop(self) -> dict[str, float]:
        """Hang up, all of them."""
        for sock in self._hellos:
            self.selector.unregister(sock)
            sock.close()
        dropped = len(self._hellos)
        self._hellos.clear()
        self._phones.clear()
        return {"dropped": float(dropped)}

    def _make_hellos(self, count: int) -> tuple[list[bytes], list[bytes]]:
        """Of binaries, and of their phones, which must not come before them."""
        homes = range(self._homes, self._homes + -(-count // (PHONES + 1)))
        self._homes = homes.stop
        binaries = [binary_handshake(f"idle-{number}") for number in homes]
        phones = [phone_handshake(f"idle-{number}") for number in homes for _ in range(PHONES)]
        return binaries, phones[: count - len(binaries)]

    def _upgrade(self, hellos: list[bytes]) -> None:
        wave = [(self._line.dial(), hello) for hello in hellos]
        for sock, hello in wave:
            sock.sendall(hello)
        for sock, hello in wave:
            upgraded(sock)
            self._hold(sock, hello)

    def _hold(self, sock: socket.socket, hello: bytes) -> None:
        sock.setblocking(False)
        self._hellos[sock] = hello
        if hello.startswith(b"GET /v1/client "):
            self._phones.append(sock)
        self.selector.register(sock, selectors.EVENT_READ)

    def _answer(self, sock: socket.socket) -> None:
        """A ping gets a pong; close notices of a binary's phones need no answer."""
        try:
            data = sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ConnectionError:
            data = b""
        if not data or data[0] == 0x80 | CLOSE:
            self._lost += 1
            self._hellos.pop(sock)
            self.selector.unregister(sock)
            sock.close()
        elif data[0] == 0x80 | PING:
            sock.send(client_frame(data[2 : 2 + data[1]], PONG))
