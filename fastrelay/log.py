"""The log: one line per event, as logfmt (the format of Go's slog) or JSON.

Event names and keys are an interface, because log searches depend on them. Values may come from the
network, so every value is escaped into printable ASCII, and no peer can break or forge a line.
Events that a peer can cause at will must go through :meth:`Log.limited`.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Final

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""The log levels by name, least important first."""

KEYS: Final = frozenset(
    {
        *("server_id", "conn_id", "binary_conn_id", "device_name", "remote"),
        *("binary_version", "err", "path", "from_", "to", "close_code"),
    }
)
"""The keys that any event may carry. ``from_`` is written ``from``, a reserved word in Python."""

BOOT_KEYS: Final = frozenset({"version", "mode", "listen", "metrics", "push", "address_cap", "fix"})
"""The keys that only events at start and stop may carry."""

_PLAIN: Final = re.compile(r"[!#-<>-\[\]-~]+")
_SLOG_LEVELS: Final = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR"}
Value = str | int | float


class Log:
    """Writes the events whose level is ``level`` or above.

    Args:
        write: writes one line, newline included. If it raises ``OSError``, the line is lost.
        level: a key of :data:`LEVELS`.
        as_json: whether lines are JSON objects instead of ``key=value``.
        flood_interval: seconds; see :meth:`limited`.
        clock: returns wall-clock seconds since the epoch.

    Raises:
        KeyError: ``level`` is unknown.
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
        """Log an event that only developers need."""
        self._emit("debug", event, fields)

    def info(self, event: str, **fields: Value) -> None:
        """Log an event of normal operation."""
        self._emit("info", event, fields)

    def warning(self, event: str, **fields: Value) -> None:
        """Log an event that an operator may have to look into."""
        self._emit("warning", event, fields)

    def error(self, event: str, **fields: Value) -> None:
        """Log an event that must not happen."""
        self._emit("error", event, fields)

    def limited(self, event: str, *, level: str = "warning", **fields: Value) -> None:
        """Log an event that peers can cause at will: at most one line per event and interval.

        Further events within the interval are only counted. The count is written when the interval
        is over, by the next event of that name or by :meth:`flush`.
        """
        now = self._clock()
        if self._is_suppressed(event, now):
            self._suppressed[event] = self._suppressed.get(event, 0) + 1
            return
        self._report_suppressed(event)
        self._last_written_at[event] = now
        self._emit(level, event, fields)

    def flush(self, *, final: bool = False) -> None:
        """Write the counts whose interval is over; all counts if ``final``."""
        now = self._clock()
        for event in list(self._suppressed):
            if final or not self._is_suppressed(event, now):
                self._report_suppressed(event)

    def _is_suppressed(self, event: str, now: float) -> bool:
        # If the wall clock is set back, events must not be suppressed until it has caught up.
        last = self._last_written_at.get(event)
        return last is not None and 0 <= now - last < self._flood_interval

    def _report_suppressed(self, event: str) -> None:
        count = self._suppressed.pop(event, 0)
        if count:
            self._emit("warning", event, {"err": f"{count} more suppressed"})

    def _emit(self, level: str, event: str, fields: dict[str, Value]) -> None:
        if LEVELS[level] >= self._threshold:
            line = self._format(self._timestamp(), _SLOG_LEVELS[level], event, fields)
            # The reader of the log may have gone, or the disk may be full. The relay goes on.
            try:  # noqa: SIM105 - suppress() costs as much as formatting the timestamp
                self._write(line)
            except OSError:
                pass

    def _timestamp(self) -> str:
        """The current UTC time in milliseconds. The text up to the second is cached: hot path."""
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
    """The value as it is if it needs no quotes, otherwise as an ASCII JSON string."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
