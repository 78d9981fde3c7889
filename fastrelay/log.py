"""One line per event on stderr: logfmt (as Go's slog writes it) or JSON.

Event names and keys are an interface: log searches depend on them. Values come from the network,
so every value is escaped into printable ASCII: nothing a peer sends can break or forge a line.
Events a peer can cause at will go through :meth:`Log.limited`.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Final

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Log levels by name, least important first."""

KEYS: Final = frozenset(
    {
        *("server_id", "conn_id", "binary_conn_id", "device_name", "remote"),
        *("binary_version", "err", "path", "from_", "to", "close_code"),
    }
)
"""Keys any event may carry. (``from_`` is written ``from``, a reserved word in Python.)"""

BOOT_KEYS: Final = frozenset({"version", "mode", "listen", "metrics", "push", "fix"})
"""Keys of what is said at start and stop."""

_PLAIN: Final = re.compile(r"[!#-<>-\[\]-~]+")
_SLOG_LEVELS: Final = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR"}
Value = str | int | float


class Log:
    """Writes events at or above ``level``.

    Args:
        write: takes one line with its newline; a line it fails to write is lost.
        level: a key of :data:`LEVELS`.
        as_json: JSON objects instead of ``key=value``.
        flood_interval: seconds; see :meth:`limited`.
        clock: wall-clock seconds since the epoch.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        level: str = "info",
        *,
        as_json: bool = False,
        flood_interval: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._threshold = LEVELS[level]
        self._format = _json_line if as_json else _logfmt_line
        self._flood_interval = flood_interval
        self._clock = clock
        self._second = -1
        self._second_text = ""
        self._last_written_at: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def debug(self, event: str, **fields: Value) -> None:
        """Something only a developer wants to see."""
        self._emit("debug", event, fields)

    def info(self, event: str, **fields: Value) -> None:
        """Something that normally happens."""
        self._emit("info", event, fields)

    def warning(self, event: str, **fields: Value) -> None:
        """Something an operator may have to look at."""
        self._emit("warning", event, fields)

    def error(self, event: str, **fields: Value) -> None:
        """Something that must not happen."""
        self._emit("error", event, fields)

    def limited(self, event: str, *, level: str = "warning", **fields: Value) -> None:
        """What peers can cause at will, a warning by default: one line per event and interval.

        What came in between is counted, and the count is written once the interval is over: by
        the next such event or by :meth:`flush`.
        """
        now = self._clock()
        if self._is_suppressed(event, now):
            self._suppressed[event] = self._suppressed.get(event, 0) + 1
            return
        self._report_suppressed(event)
        self._last_written_at[event] = now
        self._emit(level, event, fields)

    def flush(self, *, final: bool = False) -> None:
        """Write the counts whose interval is over; all of them when ``final``."""
        now = self._clock()
        for event in list(self._suppressed):
            if final or not self._is_suppressed(event, now):
                self._report_suppressed(event)

    def _is_suppressed(self, event: str, now: float) -> bool:
        # The clock is the wall's: one set back must not mute for as long as it was wrong.
        last = self._last_written_at.get(event)
        return last is not None and 0 <= now - last < self._flood_interval

    def _report_suppressed(self, event: str) -> None:
        count = self._suppressed.pop(event, 0)
        if count:
            self._emit("warning", event, {"err": f"{count} more suppressed"})

    def _emit(self, level: str, event: str, fields: dict[str, Value]) -> None:
        if LEVELS[level] >= self._threshold:
            line = self._format(self._timestamp(), _SLOG_LEVELS[level], event, fields)
            # Nobody may be reading, or the disk be full: no reason to stop relaying.
            try:  # noqa: SIM105 - suppress() costs as much as the line's timestamp
                self._write(line)
            except OSError:
                pass

    def _timestamp(self) -> str:
        """Now, to the millisecond; the part that lasts a second is made once in it."""
        second, milliseconds = divmod(int(self._clock() * 1000), 1000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{milliseconds:03}Z"


def _logfmt_line(timestamp: str, level: str, event: str, fields: dict[str, Value]) -> str:
    line = f"time={timestamp} level={level} msg={event}"
    for key, value in fields.items():
        line += f" {key.rstrip('_')}={_quote(value)}"
    return line + "\n"


def _json_line(timestamp: str, level: str, event: str, fields: dict[str, Value]) -> str:
    record: dict[str, Value] = {"time": timestamp, "level": level, "msg": event}
    record.update((key.rstrip("_"), value) for key, value in fields.items())
    return json.dumps(record) + "\n"


def _quote(value: Value) -> str:
    """The value bare if it is plain, else as a JSON string: ASCII, no raw control characters."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
