"""Connects to the first address of a host that answers (RFC 8305, happy eyeballs)."""

import os
import selectors
import socket
from collections.abc import Sequence
from typing import Any, Final

from fastrelay.net.outgoing.allowance import Allowance

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""What ``socket.getaddrinfo`` returns for each address."""

_HEAD_START: Final = 0.25
"""Seconds that an address has before the next one is tried beside it (RFC 8305 §5)."""


def look_up(host: str, port: int) -> list[AddressInfo]:
    """The addresses of ``host``, from the system's resolver. The call blocks, without a deadline.

    Raises:
        OSError: the lookup failed, or ``host`` cannot be a host name.
    """
    try:
        return list(
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        )
    except UnicodeError:  # IDNA: a label is empty or too long
        raise OSError("not a host name") from None


def interleaved(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """The addresses with the families in turns, so that one that is broken costs little time."""
    first = [info for info in addresses if info[0] == addresses[0][0]]
    others = [info for info in addresses if info[0] != addresses[0][0]]
    mixed = []
    for position in range(max(len(first), len(others))):
        mixed += first[position : position + 1] + others[position : position + 1]
    return mixed


def connect(addresses: Sequence[AddressInfo], allowance: Allowance) -> socket.socket:
    """A socket that is connected to one of ``addresses``.

    Raises:
        TimeoutError: none answered before the deadline.
        OSError: no address can be reached.
    """
    untried = interleaved(addresses)
    failure = OSError("no address")
    with selectors.DefaultSelector() as selector:
        try:
            while untried or selector.get_map():
                if untried:
                    try:
                        selector.register(_begin(untried.pop(0)), selectors.EVENT_WRITE)
                    except OSError as error:
                        failure = error
                        continue
                with allowance.waiting() as seconds:
                    ready = selector.select(min(seconds, _HEAD_START) if untried else seconds)
                for key, _ in ready:
                    sock: Any = key.fileobj
                    selector.unregister(sock)
                    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not number:
                        return sock  # type: ignore[no-any-return]
                    sock.close()
                    failure = OSError(number, os.strerror(number))
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    raise failure


def _begin(info: AddressInfo) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    try:
        sock.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock
