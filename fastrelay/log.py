"""The log: one line per event, as logfmt (the format of Go's slog) or JSON.

Event names and keys are an interface, because log searches depend on them. Values may come from the
network, so every value is escaped into printable ASCII, and no peer can break or forge a line.
Events that a peer can cause at will must go through :meth:`Log.limited`.
"""

import json
import re
import time
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""The log levels by name, least important first."""

KEYS: Final = frozenset(
    {
        "server_id",
        "conn_id",
        "binary_conn_id",
        "device_name",
        "remote",
        "binary_version",
        "err",
        "path",
        "from_",
        "to",
        "close_code",
        "token_fp",
        "duration",
        "fcm_message_id",
        "header",
        "count",
        "worker",
        "not_after",
        "retry_in",
    }
)
"""The keys that any event may carry. ``from_`` is written ``from``, a reserved word in Python."""

BOOT_KEYS: Final = frozenset(
    {
        "version",
        "mode",
        "listen",
        "metrics",
        "push",
        "address_cap",
        "fix",
        "workers",
        "max_connections",
        "max_message_bytes",
        "max_phones",
        "max_held_bytes",
        "phone_send_buffer",
        "binary_send_buffer",
        "grace",
        "upgrade_burst",
        "upgrade_refill",
    }
)
"""The keys that only events at start and stop may carry."""

MAX_LINE: Final = 4095
"""The longest line in bytes, newline included.

A pipe takes 4096 bytes in one piece (``PIPE_BUF``); the one that is left is for a newline that ends
a line of which a full disk took only a part.
"""

WHOLE_LINES: Final = 20
"""How many lines of a limited event are written in one interval before they are only counted."""

_NAMES: Final = {key: key.rstrip("_") for key in KEYS | BOOT_KEYS}
_PLAIN: Final = re.compile(r"[!#-<>-\[\]-~]+")
_SLOG_LEVELS: Final = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR"}
Value = str | int | float


class LineCounts(NamedTuple):
    """The numbers of lines that were lost, and that wait to be written.

    Attributes:
        lost: lines that will never be written.
        queued: lines that wait to be written now.
    """

    lost: int
    queued: int


class _Window:
    """The lines of one limited event within one interval."""

    __slots__ = ("began_at", "level", "suppressed", "written")

    def __init__(self, began_at: float, level: str) -> None:
        self.began_at = began_at
        self.level = level
        self.written = 0
        self.suppressed = 0


class Log:
    """Writes the events whose level is ``level`` or above.

    Args:
        write: takes one line of at most :data:`MAX_LINE` characters, newline included. If it
            raises ``OSError``, the line is lost.
        level: a key of :data:`LEVELS`.
        as_json: whether lines are JSON objects instead of ``key=value``.
        flood_interval: seconds; see :meth:`limited`.
        clock: returns wall-clock seconds since the epoch.
        strict: whether a key that is not permitted raises ``TypeError``, whatever the level. If
            not, the key and its value are left out of the line: a running relay must not fail for
            its log, and must not write an unchecked value either.
        counts: returns the counts of the object to which ``write`` passes the lines, if it has any.
        flood: whether the flood limit that several processes share permits one more line of a
            limited event, at a time of ``clock``.
        unsaid: events that are not written, because another process writes them for all.

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
        strict: bool = True,
        counts: Callable[[], LineCounts] = lambda: LineCounts(0, 0),
        flood: Callable[[str, float], bool] = lambda event, now: True,
        unsaid: Collection[str] = (),
    ) -> None:
        self._unsaid = frozenset(unsaid)
        self._write = write
        self._threshold = LEVELS[level]
        self._format = _json_line if as_json else _logfmt_line
        self._flood_interval = flood_interval
        self._clock = clock
        self._strict = strict
        self._counts = counts
        self._flood = flood
        self._lost = 0
        self._second = (-1, "")
        self._windows: dict[str, _Window] = {}

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
        """Log an event that peers can cause at will.

        The first :data:`WHOLE_LINES` of an interval are written, the others are counted. The
        count is written, at the level of the first line, when the interval is over, by the next
        event of that name or by :meth:`flush`.
        """
        if LEVELS[level] < self._threshold:
            self._check_keys(fields)
            return
        now = self._clock()
        window = self._windows.get(event)
        if window is None or self._is_over(window, now):
            if window is not None:
                self._report_suppressed(event, window)
            window = self._windows[event] = _Window(now, level)
        if window.written < WHOLE_LINES and self._flood(event, now):
            window.written += 1
            self._emit(level, event, fields)
        else:
            window.suppressed += 1

    def flush(self, *, final: bool = False) -> None:
        """Write the counts whose interval is over; all counts if ``final``."""
        now = self._clock()
        for event, window in list(self._windows.items()):
            if final or self._is_over(window, now):
                del self._windows[event]
                self._report_suppressed(event, window)

    def counts(self) -> LineCounts:
        """How many lines were lost so far, and how many wait to be written."""
        lost, queued = self._counts()
        return LineCounts(self._lost + lost, queued)

    def loss_line(self, count: int) -> str:
        """The line that says how many lines are missing; empty if the level hides it.

        Any thread may call it: it changes no state but the cached second, in one assignment.
        """
        if LEVELS["warning"] < self._threshold:
            return ""
        return self._format(self._timestamp(), "WARN", "log_lines_lost", {"count": count})

    def _is_over(self, window: _Window, now: float) -> bool:
        # If the wall clock is set back, events must not be suppressed until it has caught up.
        return not 0 <= now - window.began_at < self._flood_interval

    def _report_suppressed(self, event: str, window: _Window) -> None:
        if window.suppressed:
            self._emit(window.level, event, {"err": f"{window.suppressed} more suppressed"})

    def _emit(self, level: str, event: str, fields: dict[str, Value]) -> None:
        """Write a line.

        Raises:
            TypeError: the log is strict, and a key is not permitted.
        """
        self._check_keys(fields)
        if LEVELS[level] >= self._threshold and event not in self._unsaid:
            line = self._format(self._timestamp(), _SLOG_LEVELS[level], event, fields)
            if len(line) > MAX_LINE:
                line = self._cut(level, event, fields)
            # A line that cannot be written is no reason to stop relaying.
            try:
                self._write(line)
            except OSError:
                self._lost += 1

    def _check_keys(self, fields: dict[str, Value]) -> None:
        if self._strict and not fields.keys() <= _NAMES.keys():
            raise TypeError(f"keys that are not logged: {sorted(fields.keys() - _NAMES.keys())}")

    def _cut(self, level: str, event: str, fields: dict[str, Value]) -> str:
        """The line with its longest values cut, so that it is within :data:`MAX_LINE`."""
        room = MAX_LINE
        while True:
            room //= 2
            cut = {key: _cut_value(value, room) for key, value in fields.items()}
            line = self._format(self._timestamp(), _SLOG_LEVELS[level], event, cut)
            if len(line) <= MAX_LINE or not room:
                return line

    def _timestamp(self) -> str:
        """The current UTC time in milliseconds. The text up to the second is cached: hot path."""
        second, milliseconds = divmod(int(self._clock() * 1000), 1000)
        cached, text = self._second
        if second != cached:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return f"{text}.{milliseconds:03}Z"


def _logfmt_line(timestamp: str, level: str, event: str, fields: dict[str, Value]) -> str:
    line = f"time={timestamp} level={level} msg={_quote(event)}"
    for key, value in fields.items():
        if (name := _NAMES.get(key)) is not None:
            line += f" {name}={_quote(value)}"
    return line + "\n"


def _json_line(timestamp: str, level: str, event: str, fields: dict[str, Value]) -> str:
    record: dict[str, Value] = {"time": timestamp, "level": level, "msg": event}
    record.update((_NAMES[key], value) for key, value in fields.items() if key in _NAMES)
    return json.dumps(record) + "\n"


def _quote(value: Value) -> str:
    """The value as it is if it needs no quotes, otherwise as an ASCII JSON string."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _cut_value(value: Value, room: int) -> Value:
    """The value as it is if it needs at most ``room`` bytes in a line, otherwise its beginning."""
    text = str(value)
    if len(text) <= room and len(json.dumps(text)) <= room:
        return value
    text = text[:room]
    while text and (size := len(json.dumps(text)) + 3) > room:
        text = text[: len(text) * room // size]
    return f"{text}..."
