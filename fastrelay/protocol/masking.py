"""Unmasking in C (RFC 6455 §5.3): the one place that knows which library does it.

``websockets`` ships it for its own frames; it takes any contiguous buffers, which its type hints
do not say. ``tests/protocol/test_decoder.py`` holds it to that.
"""

from collections.abc import Callable
from typing import Final, cast

from websockets.speedups import apply_mask

unmask: Final = cast("Callable[[memoryview, memoryview], bytes]", apply_mask)
"""``unmask(payload, key)``: the payload XORed with its 4-byte key, as new bytes."""
