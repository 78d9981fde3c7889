"""JSON checked but never built, against a round trip through Python's objects.

Found: checking and wrapping 256 B takes 0.7 µs, through objects 6.0; at 65,000 B 26 and 259.
"""

import json

from bench.experiments.parts import nanoseconds, table
from bench.load.pairs import json_text
from fastrelay.protocol.envelope import check_frame, phone_prefix, unwrap, wrap


def through_objects(message: bytes) -> bytes:
    """Wrapped as one would without thinking of it."""
    return json.dumps({"conn_id": "client-bench-00112233", "frame": json.loads(message)}).encode()


def out_of_objects(envelope: bytes) -> bytes:
    """Unwrapped in the same way."""
    return json.dumps(json.loads(envelope)["frame"]).encode()


def main() -> None:
    """Print all four by size."""
    prefix = phone_prefix("client-bench-00112233")
    rows = {}
    for size in (256, 4096, 65_000):
        message = json_text(size)
        names: dict[str, object] = {
            **{"check_frame": check_frame, "wrap": wrap, "unwrap": unwrap},
            **{"through_objects": through_objects, "out_of_objects": out_of_objects},
            **{"message": message, "prefix": prefix, "envelope": prefix + message + b"}"},
        }
        for label, statement in (
            ("check and wrap, as shipped", "check_frame(message); wrap(prefix, [message])"),
            ("check and wrap through objects", "through_objects(message)"),
            ("unwrap, as shipped", "unwrap(envelope)"),
            ("unwrap through objects", "out_of_objects(envelope)"),
        ):
            rows[f"{size:>6,} B, {label}"] = nanoseconds(statement, names)
    table(rows)
