"""Ports for programs that must be told one."""

import contextlib
import itertools
import os
import socket

# Below those that Linux gives to clients (32,768 and up): among thousands of connections one of
# them would soon have taken the port before the program does. Processes begin far apart.
_FIRST, _COUNT = 12_000, 20_000
_next = itertools.count(os.getpid() * 997)


def free_port() -> int:
    """A port of 127.0.0.1 on which no process listens, and not one that was returned lately."""
    while True:
        port = _FIRST + next(_next) % _COUNT
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
