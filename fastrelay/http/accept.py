"""How much a client wants a media type, by its Accept header (RFC 9110 §12.5.1)."""

from enum import IntEnum
from typing import NamedTuple


class Specificity(IntEnum):
    """What a media range says about a media type; the most specific one decides."""

    NOTHING = 0
    ANY_TYPE = 1
    ANY_SUBTYPE = 2
    TYPE = 3
    VERSION = 4


class Preference(NamedTuple):
    """How much a client prefers a media type.

    Attributes:
        quality: from 0, not at all, to 1.
        is_named: whether the type itself is asked for, and not a wildcard that it matches.
    """

    quality: float
    is_named: bool


def preference(accept: str, media_type: str, version: str) -> Preference:
    """How much ``accept`` prefers a version of a media type: fully, if there is no header."""
    if not accept.strip():
        return Preference(1.0, is_named=False)
    best = (Specificity.NOTHING, 0.0)
    for media_range in accept.split(","):
        name, *parts = (part.strip().lower() for part in media_range.split(";"))
        parameters = dict(_parameter(part) for part in parts)
        specificity = _specificity(name, media_type)
        if specificity is Specificity.TYPE and "version" in parameters:
            is_it = parameters["version"] == version
            specificity = Specificity.VERSION if is_it else Specificity.NOTHING
        if specificity:
            best = max(best, (specificity, _quality(parameters.get("q", "1"))))
    return Preference(best[1], is_named=best[0] >= Specificity.TYPE)


def _specificity(media_range: str, media_type: str) -> Specificity:
    if media_range == media_type:
        return Specificity.TYPE
    if media_range == media_type.partition("/")[0] + "/*":
        return Specificity.ANY_SUBTYPE
    return Specificity.ANY_TYPE if media_range == "*/*" else Specificity.NOTHING


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip().strip('"')


def _quality(text: str) -> float:
    """The weight; what is no weight asks for nothing."""
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
