"""What a worker sends to another one with the descriptor of a connection, and the answers."""

from typing import Final

import msgspec


class HandedOver(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What is sent with the descriptor: an :class:`Admitted`, and how it is counted on its way."""

    place: int
    number: int
    until: float
    role: str
    server_id: str
    version: str
    device_name: str
    client: str
    accept_token: bytes
    initial_data: bytes
    started_at: float


encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(HandedOver).decode
decode_answers: Final = msgspec.msgpack.Decoder(list[tuple[bool, int, int]]).decode
"""Of each connection whether it was adopted, its place and its number."""
