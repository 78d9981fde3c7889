"""Unmasking in C, against the fastest way in pure Python.

Found (nanoseconds, in C and by integers): 187 and 784 for 16 B, 207 and 1,413 for 256 B, 1,697 and
163,727 for 65,000 B.
"""

import os

from bench.experiments.parts import nanoseconds, table
from fastrelay.protocol.masking import unmask


def by_integers(payload: memoryview, key: memoryview) -> bytes:
    """One XOR of two long integers."""
    size = len(payload)
    mask = (bytes(key) * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)


def main() -> None:
    """Print both by size."""
    key = memoryview(os.urandom(4))
    rows = {}
    for size in (16, 256, 4096, 65_000):
        payload = memoryview(bytearray(os.urandom(size)))
        assert by_integers(payload, key) == unmask(payload, key)
        for label, function in (("in C", unmask), ("integers", by_integers)):
            names = {"function": function, "payload": payload, "key": key}
            rows[f"{size:>6,} B, {label}"] = nanoseconds("function(payload, key)", names)
    table(rows)
