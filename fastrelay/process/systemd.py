"""Notifications to systemd (sd_notify(3)): one datagram each; none if systemd did not ask."""

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Notifies the service manager that started this process, if it asked for that.

    Attributes:
        watchdog: seconds within which it expects :meth:`alive`; 0.0: it does not.
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
        """The relay serves."""
        self._send(b"READY=1")

    def stopping(self) -> None:
        """The relay drains."""
        self._send(b"STOPPING=1")

    def alive(self) -> None:
        """The event loop runs."""
        self._send(b"WATCHDOG=1")

    def _send(self, message: bytes) -> None:
        if not self._address:
            return
        # A service manager that has gone must not end the relay.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(message, self._address)
