"""Keeps the numbers of stdin, stdout and stderr from becoming those of sockets."""

import os


def occupy_standard_descriptors() -> None:
    """Open ``/dev/null`` for each of the descriptors 0 to 2 that is closed.

    Otherwise the next socket would get that number, and what a library prints would be sent to a
    peer.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
