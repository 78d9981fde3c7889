"""A line between two network namespaces: a rate, a delay and a bounded queue each way, in packets.

    python -m bench.lines.emulator NAMESPACE NEAR-DEVICE RATE DELAY

One tun device is made here and one, ``eth0``, in the namespace; packets go from either to the
other. A proxy would acknowledge bytes that the far end does not have. Not every kernel has netem.
It says ``ready`` when both devices exist, and ends when its stdin does.
"""

import contextlib
import ctypes
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from typing import Final

_QUEUE_BYTES: Final = 128 * 1024
"""What waits for the line at most; further packets are dropped, as in a modem."""

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_CLONE_NEWNET: Final = 0x40000000
_LARGEST: Final = 65_536
_CLOSEST: Final = 0.0002
"""Seconds by which a packet may be early, so that the processor is not kept busy."""


class Direction:
    """Packets on their way from one device to the other."""

    def __init__(self, source: int, target: int, rate: float, delay: float) -> None:
        self.source = source
        self._target = target
        self._rate = rate
        self._delay = delay
        self._free_at = 0.0
        self._on_the_way: deque[tuple[float, bytes]] = deque()

    def read(self) -> None:
        """Take all packets that the source has."""
        while True:
            try:
                packet = os.read(self.source, _LARGEST)
            except BlockingIOError:
                return
            now = time.monotonic()
            begins = max(now, self._free_at)
            if (begins - now) * self._rate > _QUEUE_BYTES:
                continue
            self._free_at = begins + len(packet) / self._rate
            self._on_the_way.append((self._free_at + self._delay, packet))

    def deliver(self) -> float:
        """Write what is due; returns the seconds until the next packet is."""
        now = time.monotonic() + _CLOSEST
        while self._on_the_way and self._on_the_way[0][0] <= now:
            packet = self._on_the_way.popleft()[1]
            with contextlib.suppress(OSError):  # lost: the device is not up yet
                os.write(self._target, packet)
        return self._on_the_way[0][0] - now if self._on_the_way else 1.0


def _tun(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(descriptor, _TUNSETIFF, request)
    return descriptor


def main() -> int:
    """Carry packets until stdin ends."""
    namespace, device, rate, delay = sys.argv[1:]
    near = _tun(device)
    with open(f"/var/run/netns/{namespace}", "rb") as entered:
        if ctypes.CDLL(None, use_errno=True).setns(entered.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    far = _tun("eth0")
    ways = [
        Direction(near, far, float(rate), float(delay)),
        Direction(far, near, float(rate), float(delay)),
    ]
    print("ready", flush=True)
    while True:
        wait = max(0.0, min(way.deliver() for way in ways))
        readable, _, _ = select.select([0, near, far], [], [], wait)
        if 0 in readable:
            return 0
        for way in ways:
            if way.source in readable:
                way.read()


if __name__ == "__main__":
    sys.exit(main())
