"""Writes to stdout and stderr, which may be full or closed, or may have no reader."""

import contextlib
import os
import sys


def tell(program: str, text: str) -> bool:
    """Write ``text`` to stdout; returns whether that worked.

    If it did not, a line on stderr says why, unless the reader has simply gone away. From then on
    nothing else fails at stdout: neither what is written later nor the flush with which Python
    ends.

    Args:
        program: the name of the command, for that line.
        text: what to write. Characters that stdout cannot encode are escaped.
    """
    if sys.stdout is None or sys.stdout.closed:  # nobody wants it
        return True
    try:
        sys.stdout.write(_encodable(text, sys.stdout.encoding))
        sys.stdout.flush()
    except OSError as error:
        _give_up_stdout()
        if not isinstance(error, BrokenPipeError):
            complain(program, f"cannot write to stdout: {error.strerror}; give it another place")
        return False
    return True


def complain(program: str, text: str) -> None:
    """Write a line to stderr, if that takes it."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{program}: {text}\n")


def _encodable(text: str, encoding: str | None) -> str:
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _give_up_stdout() -> None:
    # What stdout still holds goes nowhere then, and closing it finds nothing to complain about.
    with contextlib.suppress(OSError):  # there is no such device, or stdout is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError):
        sys.stdout.close()
