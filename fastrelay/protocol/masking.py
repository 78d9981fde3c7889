"""Unmasking in C (RFC 6455 §5.3); only this module knows which library does it.

The function is a part of ``websockets``. It accepts any contiguous buffers, although its type hints
only name some; ``tests/protocol/test_decoder.py`` checks that. There is no fallback in Python
(docs/decisions/0002-unmasking-by-websockets.md).
"""

from collections.abc import Callable
from typing import Final, cast

from websockets.speedups import apply_mask

unmask: Final = cast("Callable[[memoryview, memoryview], bytes]", apply_mask)
"""``unmask(payload, key)``: the payload XORed with its 4-byte key, as new bytes."""
