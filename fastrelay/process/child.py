"""``python -m fastrelay.process.child``: a relay with settings and sockets of its parent process.

The settings are read from a descriptor, and the bound sockets are inherited. Of the environment
only the variables of systemd are read.
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


def command(
    settings_fd: int, sockets: BoundSockets, more: Sequence[socket.socket] = ()
) -> list[str]:
    """The command that starts such a process.

    The process must inherit the descriptors of the sockets and ``settings_fd``, from which it reads
    the output of :func:`fastrelay.config.serialised.to_json` up to the end of the file.

    Args:
        more: further public sockets, so that there is one for each worker of the settings.
    """
    words = [sys.executable, "-m", "fastrelay.process.child", f"--settings-fd={settings_fd}"]
    for name, sock in zip(sockets._fields, sockets, strict=True):
        if sock is not None:
            words.append(f"--{name}-fd={sock.fileno()}")
    return [*words, *(f"--public-fd={sock.fileno()}" for sock in more)]


def main(arguments: Sequence[str]) -> int:
    """Serve; returns the exit code."""
    occupy_standard_descriptors()
    parser = argparse.ArgumentParser(prog="python -m fastrelay.process.child")
    parser.add_argument("--settings-fd", type=int, required=True)
    for name in BoundSockets._fields:
        parser.add_argument(f"--{name}-fd", dest=name, type=_inherited, action="append", default=[])
    options = parser.parse_args(arguments)
    with os.fdopen(options.settings_fd) as file:
        settings = from_json(file.read())
    others = BoundSockets(None, *(options.metrics or [None]), *(options.challenges or [None]))
    if settings.workers == 1 and not settings.supervised:
        return run(settings, others._replace(public=options.public[0]))
    # Imported here, because one process has no use for it.
    from fastrelay.process.workers.supervisor import supervise

    return supervise(settings, options.public, others)


def _inherited(text: str) -> socket.socket:
    sock = socket.socket(fileno=int(text))
    sock.set_inheritable(False)
    return sock


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
