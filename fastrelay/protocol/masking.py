"""Unmasking in C (RFC 6455 §5.3); only this module knows which library does it.

The function is a part of ``websockets``. It accepts any contiguous buffers, although its type hints
only name some; ``tests/protocol/test_decoder.py`` checks that. There is no fallback in Python
(docs/decisions/0002-unmasking-by-websockets.md).
"""

from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Final, cast


def _load(package: str, module: str) -> ModuleType:
    """A module of a package that is not imported itself.

    ``websockets`` reads the metadata of installed packages when it is imported, and what it needs
    for that takes more than a megabyte in every process.
    """
    found = find_spec(package)
    path = None if found is None else found.submodule_search_locations
    spec = PathFinder.find_spec(f"{package}.{module}", path or [])
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"there is no module {package}.{module}")
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


unmask: Final = cast(
    "Callable[[memoryview, memoryview], bytes]", _load("websockets", "speedups").apply_mask
)
"""``unmask(payload, key)``: the payload XORed with its 4-byte key, as new bytes."""
