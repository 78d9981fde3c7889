"""The terminal: a screen of its own, and keys without a line end; restored at the end."""

import contextlib
import io
import os
import re
import signal
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, ConsoleDimensions
from rich.text import Text

_SEQUENCES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?")
_KEYS_AT_ONCE: Final = 64
_USUAL_SIZE: Final = ConsoleDimensions(80, 24)
"""For a terminal that does not know its size."""


class Terminal:
    """A context in which this program controls the terminal.

    Attributes:
        keyboard: the descriptor of stdin; ``None`` if it is no terminal.
    """

    def __init__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # bars are in few encodings
        self._console = Console(markup=False, highlight=False, emoji=False)
        self._saved: list[Any] | None = None
        self.keyboard = sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else None

    @property
    def is_usable(self) -> bool:
        """Whether stdout is a terminal on which lines can be placed."""
        # A variable such as FORCE_COLOR makes rich take anything for a terminal.
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        return is_terminal and self._console.is_terminal and not self._console.is_dumb_terminal

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, whatever the variables COLUMNS and LINES say."""
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        return columns or _USUAL_SIZE.width, rows or _USUAL_SIZE.height

    def __enter__(self) -> Self:
        try:
            self._take()
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._give_back()

    def _take(self) -> None:
        if self.keyboard is not None:
            try:
                self._saved = termios.tcgetattr(self.keyboard)
                tty.setcbreak(self.keyboard, termios.TCSANOW)
            except termios.error as error:
                raise OSError(*error.args) from None
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _give_back(self) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)
        if self.keyboard is not None and self._saved is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self.keyboard, termios.TCSANOW, self._saved)

    def stop(self) -> None:
        """Stop this process as Ctrl-Z does; returns when it is continued."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def draw(self, lines: list[Text]) -> None:
        """Show the lines, from the top of the screen on.

        Raises:
            OSError: the terminal is gone.
        """
        screen = Text("\n").join(lines)
        screen.no_wrap = True
        self._console.size = ConsoleDimensions(*self.size)
        self._console.update_screen(screen)

    def keys(self) -> str | None:
        """The keys that were pressed; ``None`` if there will be no more.

        Keys that send an escape sequence, such as arrows, are left out.
        """
        assert self.keyboard is not None
        try:
            pressed = os.read(self.keyboard, _KEYS_AT_ONCE)
        except OSError:
            return None
        if not pressed:
            return None
        return _SEQUENCES.sub("", pressed.decode("ascii", "replace"))
