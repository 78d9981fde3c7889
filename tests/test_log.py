"""The log: its lines, what hostile values cannot do to them, floods, and the keys in use."""

import ast
import asyncio
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrelay
from bench.support.ports import free_port
from fastrelay.log import BOOT_KEYS, KEYS, LEVELS, MAX_LINE, WHOLE_LINES, LineCounts, Log
from tests.support.command import COMMAND
from tests.support.peer import open_peer

MOMENT = 1_700_000_000.0625
STAMP = "2023-11-14T22:13:20.062Z"


class Clock:
    """The wall clock, moved by the test."""

    def __init__(self) -> None:
        self.now = MOMENT

    def __call__(self) -> float:
        return self.now


class Written:
    """A log and what it wrote."""

    def __init__(self, level: str = "info", *, as_json: bool = False) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        self.log = Log(
            self.lines.append, level, as_json=as_json, flood_interval=10, clock=self.clock
        )

    def errs(self) -> list[str | None]:
        """The lines' ``err``."""
        return [fields.get("err") for fields in self.fields()]

    def fields(self) -> list[dict[str, str]]:
        """The lines' fields, but for time."""
        split = [dict(pair.split("=", 1) for pair in shlex.split(line)) for line in self.lines]
        return [{key: fields[key] for key in fields if key != "time"} for fields in split]


# -- a line ---------------------------------------------------------------------------------------


def test_a_logfmt_line() -> None:
    written = Written()
    written.log.info(
        "phone_registered", server_id="s1", close_code=4401, from_="2001:db8::1", to=""
    )
    assert written.lines == [
        f"time={STAMP} level=INFO msg=phone_registered "
        'server_id=s1 close_code=4401 from=2001:db8::1 to=""\n'
    ]


def test_an_event_of_several_words_is_quoted() -> None:
    plain, as_json = Written(), Written(as_json=True)
    for written in (plain, as_json):
        written.log.info("shutdown complete", version="1")
    assert plain.lines == [f'time={STAMP} level=INFO msg="shutdown complete" version=1\n']
    assert json.loads(as_json.lines[0])["msg"] == "shutdown complete"


@pytest.mark.parametrize(("level", "shown"), [("info", "INFO"), ("error", "ERROR")])
def test_the_count_of_suppressed_lines_has_the_level_of_the_event(level: str, shown: str) -> None:
    written = Written()
    for _ in range(WHOLE_LINES + 2):
        written.log.limited("server_id_conflict", level=level)
    written.log.flush(final=True)
    assert {fields["level"] for fields in written.fields()} == {shown}
    assert written.errs()[-1] == "2 more suppressed"


def test_a_json_line() -> None:
    written = Written(as_json=True)
    written.log.warning("rate_limited", remote="203.0.113.9", from_="a b", close_code=1000)
    (line,) = written.lines
    assert line.endswith("}\n")
    assert list(json.loads(line).items()) == [
        *(("time", STAMP), ("level", "WARN"), ("msg", "rate_limited")),
        *(("remote", "203.0.113.9"), ("from", "a b"), ("close_code", 1000)),
    ]


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_and_what_is_above_it(level: str) -> None:
    written = Written(level)
    for name in LEVELS:
        getattr(written.log, name)("starting")
    written.log.limited("rate_limited")
    shown = [fields["level"] for fields in written.fields()]
    names = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR"}
    expected = [names[name] for name in LEVELS if LEVELS[name] >= LEVELS[level]]
    assert shown == expected + ["WARN"] * (level != "error")


def test_an_unknown_level_is_no_level() -> None:
    with pytest.raises(KeyError):
        Log(print, "loud")


@pytest.mark.parametrize("fraction", ["000", "001", "999"])
def test_the_time_has_milliseconds(fraction: str) -> None:
    written = Written()
    written.clock.now = 1_700_000_000 + int(fraction) / 1000 + 0.0001
    written.log.info("starting")
    assert written.lines[0].startswith(f"time=2023-11-14T22:13:20.{fraction}Z ")


# -- hostile values -------------------------------------------------------------------------------

HOSTILE = {
    "newline": "a\nlevel=ERROR msg=forged",
    "carriage return": "a\rb",
    "quote": '" msg=forged x="',
    "only a quote": '"',
    "in quotes": '"a"',
    "backslash": 'a\\" msg=forged',
    "only a backslash": "\\",
    "equals": "a=b",
    "space": "a b",
    "empty": "",
    "terminal escape": "\x1b[2J\x1b]0;owned\x07",
    "NUL": "a\0b",
    "delete": "a\x7fb",
    "C1 control": "a\x9b2Jb",
    "line separator": "a\u2028b\x85c",
    "right to left": "\u202emoc.live",
    "lone surrogate": "\ud800",
    "astral": "𝄞",
    "long": "x y" * 1000,
}


def is_one_printable_line(line: str) -> bool:
    """Nothing in it but printable ASCII, and one newline, at the end."""
    return re.fullmatch(r"[ -~]+\n", line) is not None


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_value_stays_in_its_field(value: str) -> None:
    plain, as_json = Written(), Written(as_json=True)
    for written in (plain, as_json):
        written.log.info("phone_registered", device_name=value, remote="r")
        assert len(written.lines) == 1
        assert is_one_printable_line(written.lines[0])
    assert json.loads(as_json.lines[0])["device_name"] == value
    head, _, quoted = plain.lines[0].partition(" device_name=")
    assert head == f"time={STAMP} level=INFO msg=phone_registered"
    assert quoted.endswith(" remote=r\n")
    assert json.loads(quoted.removesuffix(" remote=r\n")) == value


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_no_value_breaks_or_forges_a_line(values: list[str]) -> None:
    """A reader that knows bare words and JSON strings finds exactly the fields written."""
    keys = ["server_id", "device_name", "err"][: len(values)]
    for as_json in (False, True):
        written = Written(as_json=as_json)
        written.log.info("starting", **dict(zip(keys, values, strict=True)))
        (line,) = written.lines
        assert is_one_printable_line(line)
        if as_json:
            assert list(json.loads(line).items())[3:] == list(zip(keys, values, strict=True))
        else:
            assert list(logfmt(line))[3:] == list(zip(keys, values, strict=True))


def logfmt(line: str) -> Iterator[tuple[str, str]]:
    """The fields of a line, by a grammar that leaves no character over."""
    field = re.compile(r'([a-z_]+)=(?:("(?:[^"\\]|\\.)*")|([^ "=\\]+))[ \n]')
    at = 0
    while at < len(line):
        match = field.match(line, at)
        assert match is not None, line[at:]
        key, quoted, bare = match.groups()
        yield key, json.loads(quoted) if quoted else bare
        at = match.end()


@given(st.lists(st.text(min_size=300), min_size=1, max_size=3))
def test_a_long_line_is_cut_in_its_values(values: list[str]) -> None:
    """All keys are there, values are whole or end in dots, and short ones are never cut."""
    texts = [text * 10 for text in values]
    keys = ["server_id", "device_name", "err"][: len(texts)]
    for as_json in (False, True):
        written = Written(as_json=as_json)
        written.log.info("starting", **dict(zip(keys, texts, strict=True)), remote="203.0.113.9")
        (line,) = written.lines
        assert is_one_printable_line(line)
        assert len(line) <= MAX_LINE
        fields = dict(list(json.loads(line).items())[3:] if as_json else list(logfmt(line))[3:])
        assert list(fields) == [*keys, "remote"]
        assert fields.pop("remote") == "203.0.113.9"
        for text, shown in zip(texts, fields.values(), strict=True):
            assert shown == text or (
                shown.endswith("...") and text.startswith(shown.removesuffix("..."))
            )


def test_a_cut_line_uses_its_room() -> None:
    written = Written()
    written.log.info("starting", err="x" * 100_000, from_="x" * 500)
    (line,) = written.lines
    assert MAX_LINE // 2 < len(line) <= MAX_LINE
    assert f"from={'x' * 500}\n" in line


# -- floods ---------------------------------------------------------------------------------------


def test_a_flood_is_twenty_lines_and_a_count_an_interval() -> None:
    written = Written()
    for second in range(25):
        written.clock.now = MOMENT + second
        for _ in range(15):
            written.log.limited("rate_limited", remote=f"203.0.113.{second}")
    warn = {"level": "WARN", "msg": "rate_limited"}
    expected = []
    for first in (0, 10, 20):
        expected += [{**warn, "remote": f"203.0.113.{first}"}] * 15
        expected += [{**warn, "remote": f"203.0.113.{first + 1}"}] * 5
        expected += [{**warn, "err": "130 more suppressed"}]
    assert written.fields() == expected[:-1]
    written.log.flush(final=True)
    assert written.fields()[-1] == {**warn, "err": "55 more suppressed"}
    written.log.flush(final=True)
    assert len(written.lines) == len(expected)


def test_the_count_of_a_flood_that_ended_is_flushed() -> None:
    written = Written()
    for _ in range(WHOLE_LINES + 2):
        written.log.limited("conn_cap_reached", remote="r")
    written.clock.now += 9
    written.log.flush()
    assert len(written.lines) == WHOLE_LINES
    written.clock.now += 1
    written.log.flush()
    assert written.errs() == [None] * WHOLE_LINES + ["2 more suppressed"]
    written.log.limited("conn_cap_reached", remote="r")
    assert written.fields()[-1].get("err") is None


def test_one_events_flood_mutes_no_other() -> None:
    written = Written()
    for _ in range(50):
        written.log.limited("rate_limited")
        written.log.info("server_claimed")
    written.log.limited("conn_cap_reached")
    events = [fields["msg"] for fields in written.fields()]
    alternate = ["rate_limited", "server_claimed"] * WHOLE_LINES
    rest = ["server_claimed"] * (50 - WHOLE_LINES)
    assert events == [*alternate, *rest, "conn_cap_reached"]


def test_a_clock_set_back_mutes_nothing() -> None:
    written = Written()
    for _ in range(WHOLE_LINES + 1):
        written.log.limited("rate_limited")
    written.clock.now -= 3600
    written.log.flush()
    assert written.errs() == [None] * WHOLE_LINES + ["1 more suppressed"]
    for _ in range(WHOLE_LINES + 1):
        written.log.limited("rate_limited")
    assert written.errs()[WHOLE_LINES + 1 :] == [None] * WHOLE_LINES


def test_a_log_nobody_can_read_costs_nobody_a_connection() -> None:
    """Its reader may have gone, its disk may be full: no reason to stop relaying."""
    lines: list[str] = []

    def write(line: str) -> None:
        lines.append(line)
        raise BrokenPipeError

    log = Log(write)
    log.info("server_claimed", server_id="s")
    log.limited("rate_limited")
    assert len(lines) == 2
    assert log.counts() == (2, 0)


async def test_a_relay_whose_log_reader_has_gone_relays_on() -> None:
    port = free_port()
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "--insecure-listen", f"127.0.0.1:{port}", "--metrics-listen="),
        stderr=writer,
    )
    os.close(writer)
    try:
        assert b" msg=starting " in await asyncio.to_thread(os.read, reader, 4096)
        os.close(reader)
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1", "X-Pyrycode-Token": "t"}
        for _ in range(3):
            binary = await open_peer(port, "/v1/server", headers)
            phone = await open_peer(port, "/v1/client", headers)
            phone.send_text(b"1")
            assert (await binary.json())["frame"] == 1
            await phone.close()
            await binary.close()
    finally:
        process.terminate()
        assert await process.wait() == 0


# -- the keys in use ------------------------------------------------------------------------------

METHODS = {"debug", "info", "warning", "error", "limited"}

SPECIFIED = {
    "info": {
        *("starting", "starting metrics listener"),
        *("shutdown signal received; draining", "shutdown complete"),
        *("server_claimed", "server_id_conflict", "server_id_takeover", "server_released"),
        *("phone_registered", "phone_register_no_server", "phone_register_at_cap"),
        *("phone_unregistered", "phone_forwarder_read_end", "phone_forwarder_no_binary"),
        *("phone_forwarder_send_failed", "phone_close_notice_send_failed"),
        *("binary_forwarder_read_end", "binary_forwarder_phone_closed"),
        *("binary_forwarder_phone_enqueue_failed", "binary_forwarder_phone_send_failed"),
        "binary_forwarder_close_frame_send_failed",
    },
    "warning": {
        *("rate_limited", "conn_cap_reached", "phone_forwarder_marshal_err"),
        *("binary_forwarder_unmarshal_err", "binary_forwarder_unknown_conn_id"),
        *("binary_forwarder_push_wake_dropped", "push_wake_send_failed"),
        *("loop_stalled", "useless_frames", "held_bytes_evicted"),
    },
    "error": {"internal_error"},
    "debug": {"header_rejected", "tls_handshake_failed"},
}
"""The protocol's events by level; for those that the Go relay has it is the Go relay's."""

PERMITTED = {
    *("server_id", "conn_id", "binary_conn_id", "device_name", "remote", "binary_version", "err"),
    *("path", "from", "to", "close_code", "token_fp", "duration", "fcm_message_id", "header"),
    *("count", "worker", "not_after", "retry_in"),
}


def log_calls(source: str) -> Iterator[ast.Call]:
    """Calls of anything named like a method of the log, whatever the log is named there."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS:
                yield node


def wrong_keys(source: str, permitted: frozenset[str]) -> list[str | None]:
    """Keys logged that are not permitted; ``None`` for ``**``, behind which anything may be.

    The level of :meth:`Log.limited` is no key, if it is written there as what it is.
    """
    given = (
        keyword.arg
        for call in log_calls(source)
        for keyword in call.keywords
        if not is_level(call, keyword)
    )
    return [key for key in given if key not in permitted]


def events_of(call: ast.Call) -> set[str]:
    """The events that a log call names; ``"a" if … else "b"`` is two."""
    return {
        node.value
        for argument in call.args[:1]
        for node in ast.walk(argument)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def level_of(call: ast.Call) -> str:
    """The level of a log call: that of its method, or the one that a limited event names."""
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr != "limited":
        return call.func.attr
    levels = [keyword.value for keyword in call.keywords if keyword.arg == "level"]
    assert all(isinstance(level, ast.Constant) for level in levels)
    return levels[0].value if levels else "warning"  # type: ignore[attr-defined, no-any-return]


def is_level(call: ast.Call, keyword: ast.keyword) -> bool:
    """Whether a keyword of a log call says how important a limited event is."""
    match call.func, keyword:
        case (
            ast.Attribute(attr="limited"),
            ast.keyword(arg="level", value=ast.Constant(value=str(level))),
        ):
            return level in LEVELS
    return False


def modules() -> dict[str, str]:
    """Every source file of the package by its path in it, the log itself left out."""
    root = Path(fastrelay.__file__).parent
    found = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}
    del found["log.py"]
    return found


def test_what_is_lost_is_said_in_the_logs_own_format() -> None:
    written = Written()
    assert written.log.loss_line(7) == f"time={STAMP} level=WARN msg=log_lines_lost count=7\n"
    assert json.loads(Written(as_json=True).log.loss_line(7))["count"] == 7
    assert Written("error").log.loss_line(7) == ""


def test_what_another_part_lost_is_counted_with_it() -> None:
    def write(line: str) -> None:
        raise BrokenPipeError

    log = Log(write, counts=lambda: LineCounts(3, 4))
    log.info("starting")
    assert log.counts() == (4, 4)


def test_the_permitted_keys_are_the_protocols() -> None:
    assert {key.rstrip("_") for key in KEYS} == PERMITTED
    assert not KEYS & BOOT_KEYS


@pytest.mark.parametrize("module", modules())
def test_only_permitted_keys_are_logged(module: str) -> None:
    """Boot keys are for the module that starts and stops the process."""
    permitted = KEYS | BOOT_KEYS if module == "process/run.py" else KEYS
    assert not wrong_keys(modules()[module], permitted)


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("log.info('e', token=t)", ["token"]),
        ("self._board.log.limited('e', server_id=s, frame=f)", ["frame"]),
        ("def f(journal):\n    return [journal.warning('e', headers=h) for h in x]", ["headers"]),
        ("log.error('e', **fields)", [None]),
        ("log.info('e', listen=a)", ["listen"]),
        ("log.info('e', from_=a, to=b)", []),
        ("log.limited('e', level='error', err=e)", []),
        ("log.limited('e', level=token)", ["level"]),
        ("log.limited('e', level='t0k3n')", ["level"]),
        ("log.info('e', level='error')", ["level"]),
    ],
)
def test_a_key_that_is_not_permitted_is_found(source: str, wrong: list[str | None]) -> None:
    assert wrong_keys(source, KEYS) == wrong


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_key_that_is_not_permitted_is_refused(method: str) -> None:
    written = Written("error")  # whether the line would be written or not
    with pytest.raises(TypeError, match="token"):
        getattr(written.log, method)("server_claimed", token="t0k3n")
    assert written.lines == []


@pytest.mark.parametrize("as_json", [False, True])
def test_in_a_running_relay_it_is_left_out(as_json: bool) -> None:
    """The line without it is worth more than a connection that ends, and no value leaks."""
    lines: list[str] = []
    log = Log(lines.append, as_json=as_json, strict=False)
    log.error("server_claimed", server_id="s", token="t0k3n", remote="r")
    (line,) = lines
    assert "tok" not in line
    assert "t0k3n" not in line
    assert ("server_id=s remote=r\n" in line) or ('"server_id": "s", "remote": "r"}' in line)


def test_every_event_of_the_protocol_is_logged_somewhere() -> None:
    """As a literal of the call, so that a search for it finds it, and with its one level."""
    said: dict[str, set[str]] = {}
    for source in modules().values():
        for call in log_calls(source):
            for event in events_of(call):
                said.setdefault(event, set()).add(level_of(call))
    for level, events in SPECIFIED.items():
        assert {event: said.get(event) for event in events} == {key: {level} for key in events}


def test_there_is_no_second_way_into_the_log() -> None:
    """No ``logging``; ``stderr`` only for the log, and where a command says why it cannot."""
    writers = set()
    for module, source in modules().items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None), *(alias.name for alias in node.names)]
                assert "logging" not in names, module
            if isinstance(node, ast.Attribute) and "stderr" in node.attr:
                writers.add(module)
    commands = {"cli.py", "tools/support/output.py"}
    assert writers == commands | {"process/own_log.py", "process/log_writer.py"}
