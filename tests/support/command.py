"""The command line, and what it says when it refuses."""

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from fastrelay.cli import main

COMMAND = (sys.executable, "-m", "fastrelay")
LISTEN = ("--insecure-listen", "127.0.0.1:8080")
"""A good listener for command lines that are refused for something else before it is bound."""


def run(*arguments: str | bytes) -> subprocess.CompletedProcess[str]:
    """The whole life of a command that must end by itself."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)


@contextmanager
def started(*command: str, **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """A process that is killed at the end, unless the test has ended it.

    :class:`subprocess.Popen` as a context manager waits for the process instead, without limit when
    an assertion of the test has failed.
    """
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def what_and_fix(said: str) -> tuple[str, str]:
    """What is wrong and how to fix it: all that a refused command says on stderr."""
    lines = said.splitlines()
    assert len(lines) == 2, said
    assert all(line.startswith("fastrelay: ") for line in lines)
    return lines[0].removeprefix("fastrelay: "), lines[1].removeprefix("fastrelay: ")


def refused(*arguments: str) -> tuple[str, str]:
    """A refusal of the command's own function: starting a process for each would take long."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        code = main(arguments)
    assert (code, stdout.getvalue()) == (2, "")
    return what_and_fix(stderr.getvalue())


def refused_process(*arguments: str | bytes) -> tuple[str, str]:
    """A refusal of the whole command."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    return what_and_fix(done.stderr)
