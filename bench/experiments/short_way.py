"""A small frame by itself is nearly every read: what a way of its own saves.

Reading a 16-bit length by shifts instead of a slice and ``from_bytes``; joining one frame's
pieces without adding up their lengths first. Found (Python 3.11, nanoseconds):

    length by from_bytes of a slice     198
    length by two shifts                 52
    gather one frame, lengths added     204
    gather one frame, as shipped        117

A round trip has two frames, so about a third of a microsecond of the five that the relay's own
code takes for one.
"""

from bench.experiments.parts import nanoseconds, table
from fastrelay.routing.envelope import gather
from fastrelay.websocket.frames import text_header


def main() -> None:
    """Print the four figures."""
    view = memoryview(bytearray(b"\x81\xfe\x01\x00" + bytes(300)))
    frame = b"x" * 256
    names = {"view": view, "flat": [text_header(len(frame)), frame], "gather": gather}
    table(
        {
            label: nanoseconds(statement, names)
            for label, statement in (
                ("length by from_bytes of a slice", "int.from_bytes(view[2:4])"),
                ("length by two shifts", "view[2] << 8 | view[3]"),
                (
                    "gather one frame, lengths added",
                    "sum(map(len, flat)) < 32768 and [b''.join(flat)]",
                ),
                ("gather one frame, as shipped", "gather(flat)"),
            )
        }
    )
