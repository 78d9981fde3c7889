"""Settings as JSON: a process that has read the configuration gives them to its child."""

import dataclasses
import ipaddress
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fastrelay.config.settings import (
    Acme,
    Address,
    Intervals,
    Limits,
    Push,
    Renewed,
    ServiceAccount,
    Settings,
    TlsFiles,
)

_KIND: Final = "kind"
_GROUPS: Final[dict[str, Callable[..., object]]] = {
    cls.__name__: cls
    for cls in (Acme, Address, Intervals, Limits, Push, Renewed, ServiceAccount, Settings, TlsFiles)
}
_TEXTS: Final[dict[str, Callable[[str], object]]] = {
    "Path": Path,
    "Network": ipaddress.ip_network,
}


def to_json(settings: Settings) -> str:
    """The settings as text. It contains the push credential, so it must not be stored or logged."""
    return json.dumps(settings, default=_encode)


def from_json(text: str) -> Settings:
    """The settings that :func:`to_json` was given."""
    settings = json.loads(text, object_hook=_decode)
    assert isinstance(settings, Settings)
    return settings


def _encode(value: Any) -> dict[str, object]:
    if isinstance(value, Path):
        return {_KIND: "Path", "text": str(value)}
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return {_KIND: "Network", "text": str(value)}
    found: dict[str, object] = {_KIND: type(value).__name__}
    for field in dataclasses.fields(value):
        found[field.name] = getattr(value, field.name)
    return found


def _decode(found: dict[str, Any]) -> object:
    kind = found.pop(_KIND)
    if kind in _TEXTS:
        return _TEXTS[kind](found["text"])
    return _GROUPS[kind](
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in found.items()
        }
    )
