"""Telling systemd how we are (sd_notify(3)): a datagram a message, nothing if it did not ask."""

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Speaks to the service manager that started this process, if there is one that listens.

    Attributes:
        watchdog: seconds within which it wants a sign of life; 0.0: never.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # the abstract namespace
            self._address = "\0" + self._address[1:]
        self.watchdog = 0.0
        meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
        if meant_for == str(os.getpid()):
            with contextlib.suppress(ValueError):
                self.watchdog = int(environment.get("WATCHDOG_USEC", "0")) / 1e6

    def ready(self) -> None:
        """We serve."""
        self._send(b"READY=1")

    def stopping(self) -> None:
        """We drain."""
        self._send(b"STOPPING=1")

    def alive(self) -> None:
        """The loop turns."""
        self._send(b"WATCHDOG=1")

    def _send(self, message: bytes) -> None:
        if not self._address:
            return
        # A service manager that does not listen any more must not stop us.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(message, self._address)
