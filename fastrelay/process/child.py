"""``python -m fastrelay.process.child``: a relay whose parent process gives it all it needs.

The settings are read from a descriptor, and the listening sockets are inherited, bound. Neither
flags nor the environment are looked at, but for what systemd says there.
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence

from fastrelay.config.serialised import from_json
from fastrelay.net.bound_sockets import BoundSockets
from fastrelay.process.run import run
from fastrelay.process.standard_descriptors import occupy_standard_descriptors


def command(settings_fd: int, sockets: BoundSockets) -> list[str]:
    """The command that starts such a process.

    It has to inherit ``settings_fd``, from which :func:`fastrelay.config.serialised.to_json` is
    read to its end, and the descriptors of the sockets.
    """
    words = [sys.executable, "-m", "fastrelay.process.child", f"--settings-fd={settings_fd}"]
    for name, sock in zip(sockets._fields, sockets, strict=True):
        if sock is not None:
            words.append(f"--{name}-fd={sock.fileno()}")
    return words


def main(arguments: Sequence[str]) -> int:
    """Serve; returns the exit code."""
    occupy_standard_descriptors()
    parser = argparse.ArgumentParser(prog="python -m fastrelay.process.child")
    parser.add_argument("--settings-fd", type=int, required=True)
    for name in BoundSockets._fields:
        parser.add_argument(f"--{name}-fd", dest=name, type=_inherited)
    options = parser.parse_args(arguments)
    with os.fdopen(options.settings_fd) as file:
        settings = from_json(file.read())
    return run(settings, BoundSockets(options.public, options.metrics, options.challenges))


def _inherited(text: str) -> socket.socket:
    sock = socket.socket(fileno=int(text))
    sock.set_inheritable(False)
    return sock


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
