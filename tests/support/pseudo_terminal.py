"""A command on a terminal of its own, whose screen and settings a test can see."""

import asyncio
import codecs
import contextlib
import fcntl
import os
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_SEQUENCE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")
_WAIT = 20.0


class PseudoTerminal:
    """The terminal: as much of one as a program needs that places lines of text.

    Attributes:
        process: the command.
        modes: private modes that are set, such as ``?1049``, the second screen, and ``?25``, the
            cursor.
        strays: control characters and sequences that such a program does not need.
        is_open: whether the command still has it open.
    """

    process: asyncio.subprocess.Process

    def __init__(self, columns: int, rows: int) -> None:
        self.modes = {"?25"}
        self.strays: list[str] = []
        self.is_open = True
        self._cells: dict[tuple[int, int], str] = {}
        self._row = self._column = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._pending = ""
        self.master, self.slave = os.openpty()
        self.resize(columns, rows)
        self.settings = termios.tcgetattr(self.slave)
        """As they were at the beginning."""

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    @property
    def lines(self) -> list[str]:
        """What can be seen."""
        return [
            "".join(self._cells.get((row, column), " ") for column in range(self.columns)).rstrip()
            for row in range(self.rows)
        ]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def is_restored(self) -> bool:
        """Whether everything is as it was at the beginning."""
        same = termios.tcgetattr(self.slave) == self.settings
        return same and self.modes == {"?25"}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what is seen."""
        try:
            async with asyncio.timeout(_WAIT):
                while not condition():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(self.text) from None

    async def sees(self, text: str) -> None:
        await self.until(lambda: text in self.text)

    async def end(self) -> int:
        """The exit code, once everything that the command wrote is seen."""
        async with asyncio.timeout(_WAIT):
            code = await self.process.wait()
        self.read()
        return code

    def read(self) -> None:
        """Take what has been written."""
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    data = os.read(self.master, 65536)
                except BlockingIOError:
                    raise
                except OSError:  # nobody has the other end open
                    data = b""
                if not data:
                    self.is_open = False
                    asyncio.get_running_loop().remove_reader(self.master)
                    return
                self._show(self._pending + self._decoder.decode(data))

    def _show(self, text: str) -> None:
        self._pending = ""
        position = 0
        while position < len(text):
            character = text[position]
            if character == "\x1b":
                found = _SEQUENCE.match(text, position)
                if found is None and len(text) - position < 12:
                    self._pending = text[position:]
                    return
                if found is None:
                    self.strays.append(text[position : position + 12])
                    position += 1
                    continue
                self._control(found[0], found[1], found[2])
                position = found.end()
                continue
            position += 1
            if character == "\n":
                self._row, self._column = self._row + 1, 0
            elif character != "\r":
                if not character.isprintable():
                    self.strays.append(character)
                self._cells[self._row, self._column] = character
                self._column += 1

    def _control(self, whole: str, parameters: str, letter: str) -> None:
        match letter:
            case "H":
                row, _, column = parameters.partition(";")
                self._row, self._column = int(row or 1) - 1, int(column or 1) - 1
            case "h":
                self.modes.add(parameters)
                self._cells.clear()
            case "l":
                self.modes.discard(parameters)
            case "m":
                pass
            case _:
                self.strays.append(whole)

    def _close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            asyncio.get_running_loop().remove_reader(self.master)
        for descriptor in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@asynccontextmanager
async def on_terminal(
    *arguments: str, columns: int = 100, rows: int = 40
) -> AsyncIterator[PseudoTerminal]:
    """Python with ``arguments`` on a terminal; killed at the end if it is still there."""
    terminal = PseudoTerminal(columns, rows)
    # What the variables say of the size is wrong as soon as a window is resized.
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "33", "LINES": "7"}

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(terminal.slave, termios.TIOCSCTTY, 0)

    terminal.process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        preexec_fn=take_terminal,
    )
    os.set_blocking(terminal.master, False)
    asyncio.get_running_loop().add_reader(terminal.master, terminal.read)
    try:
        yield terminal
    finally:
        with contextlib.suppress(ProcessLookupError):
            terminal.process.kill()
        await terminal.process.communicate()
        terminal._close()
