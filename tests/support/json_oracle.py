"""What the envelope module should say of any bytes, worked out with Python's ``json``.

``json`` is told apart from RFC 8259 where it is looser, and from us where we are stricter:

* ``NaN``, ``Infinity`` and ``-Infinity`` are no JSON: refused by both.
* A whole number of any size is valid; Python's limit of 4,300 digits is not asked.
* An escaped lone surrogate stands for no character: valid by the grammar, refused by us.
* A byte order mark is no part of a value: bytes are decoded as UTF-8 before ``json`` sees them.
* Nesting: each parser stops somewhere. Past :data:`DEEP` either verdict is right.
"""

import json
import re
from json.decoder import scanstring
from typing import Any, NamedTuple

DEEP = 300
"""Levels of brackets that both parsers take, however deep in the stack they are called."""

_SPACE = re.compile(r"[ \t\n\r]*")
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


def _no_constant(constant: str) -> None:
    raise ValueError(constant)


_strict = json.JSONDecoder(
    parse_constant=_no_constant, parse_int=str, parse_float=str, object_pairs_hook=list
)


def is_json(message: bytes) -> bool:
    """Whether ``message`` is one JSON value, by the rules above."""
    try:
        _encodable(_strict.decode(message.decode()))
    except (ValueError, RecursionError):
        return False
    return True


def _encodable(value: Any) -> None:
    """Raise a ``ValueError`` if a string in ``value`` is no Unicode text."""
    json.dumps(value, ensure_ascii=False).encode()


def depth(message: bytes) -> int:
    """How deep brackets nest outside strings."""
    deepest = level = 0
    for token in _BRACKETS.findall(message):
        level += token in (b"[", b"{")
        level -= token in (b"]", b"}")
        deepest = max(deepest, level)
    return deepest


class Asked(NamedTuple):
    """What an envelope asks for; the fields are those of ``Envelope``, absent and null alike."""

    conn_id: str | None
    frame: bytes
    close_code: int
    push_wake: bytes


def read_envelope(message: bytes) -> Asked | None:
    """What ``message`` asks for by the table of envelopes; ``None``: it is malformed.

    Where a field stands twice the last counts, as in the Go relay, but each must be of its type.
    """
    if not is_json(message) or not (text := message.decode()).lstrip(" \t\n\r").startswith("{"):
        return None
    asked: dict[str, str] = {}
    for name, value in _fields(text):
        if not _well_typed(name, value):
            return None
        asked[name] = "" if value == "null" else value
    conn_id = json.loads(asked.get("conn_id") or "null")
    code = int(asked.get("close_code") or 0)
    frame, wake = asked.get("frame", "").encode(), asked.get("push_wake", "").encode()
    if not conn_id:
        return Asked(conn_id, frame, code, wake) if wake else None
    if not _has_64_bits(code) if code else not frame:
        return None
    return Asked(conn_id, frame, code, wake)


def _has_64_bits(code: int) -> bool:
    return code in range(-(2**63), 2**64)


def _well_typed(name: str, value: str) -> bool:
    if name == "conn_id":
        return value == "null" or value.startswith('"')
    if name == "close_code":
        return value == "null" or re.fullmatch(r"-?\d+", value) is not None
    return True


def _fields(text: str) -> list[tuple[str, str]]:
    """Names and values, as they are written, of the JSON object ``text``."""
    fields = []
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = scanstring(text, at + 1)
        begin = _skip(text, _skip(text, at) + 1)
        _, end = _strict.raw_decode(text, begin)
        fields.append((name, text[begin:end]))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return fields


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found
    return found.end()
