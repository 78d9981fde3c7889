"""Sends notifications to systemd (sd_notify(3)), if systemd has asked for them."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Mapping
from typing import Final

_RETRY: Final = 0.05
"""Seconds until a notification is sent again for which the socket had no room."""

_FULL: Final = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)


class Notifier:
    """Notifies the service manager that started this process, if it asked for that.

    Its socket may be full for a moment. A notification that found no room is sent again later, in
    the order in which they were made. All methods are called in the thread of an event loop.

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
            with contextlib.suppress(ValueError, OverflowError):
                self.watchdog = max(0.0, int(environment.get("WATCHDOG_USEC", "0")) / 1e6)
        self._unsent: list[bytes] = []
        self._retry: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """The relay serves."""
        self._notify(b"READY=1")

    def stopping(self) -> None:
        """The relay drains."""
        self._notify(b"STOPPING=1")

    def alive(self) -> None:
        """The event loop runs."""
        self._notify(b"WATCHDOG=1")

    async def close(self, patience: float = 1.0) -> None:
        """Give what is unsent ``patience`` seconds more, and then send nothing more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._unsent:
                    await asyncio.sleep(_RETRY)
        if self._retry is not None:
            self._retry.cancel()
        self._unsent.clear()

    def _notify(self, message: bytes) -> None:
        if self._address and message not in self._unsent:
            self._unsent.append(message)
            if self._retry is None:
                self._send_unsent()

    def _send_unsent(self) -> None:
        self._retry = None
        while self._unsent:
            if not self._send(self._unsent[0]):
                self._retry = asyncio.get_running_loop().call_later(_RETRY, self._send_unsent)
                return
            del self._unsent[0]

    def _send(self, message: bytes) -> bool:
        """Send one datagram; returns ``False`` if it should be tried again."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(message, self._address)
        except OSError as error:
            # A service manager that has gone must not end the relay.
            return error.errno not in _FULL
        return True
