"""Prevents sockets from getting the descriptor numbers of stdin, stdout and stderr."""

import os


def occupy_standard_descriptors() -> None:
    """Open ``/dev/null`` for each of the descriptors 0 to 2 that is closed.

    Otherwise the next socket would get that number, and what a library prints would be sent to a
    peer. libuv also ends the process when it closes a descriptor of its own with such a number.
    Where there is no ``/dev/null``, the end of a pipe serves: its other end is closed.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            _occupy(descriptor)


def _occupy(descriptor: int) -> None:
    try:
        opened = os.open(os.devnull, os.O_RDWR)
    except OSError:
        opened, other = os.pipe()
        if other == descriptor:
            opened, other = other, opened
        os.close(other)
    if opened != descriptor:
        os.dup2(opened, descriptor, inheritable=False)
        os.close(opened)
