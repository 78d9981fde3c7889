"""The message with which a worker hands a connection to another one, and the answers."""

import asyncio
import socket
from typing import Final, Self

import msgspec

from fastrelay.net.far_end import FarEnd
from fastrelay.policy.shared.connections import Transfer
from fastrelay.server.admitted import Admitted, Role


class HandedOver(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """The message: an :class:`Admitted`, and where the sender counts the connection."""

    place: int
    number: int
    until: float
    role: Role
    server_id: str
    version: str
    device_name: str
    client: str
    accept_token: bytes
    initial_data: bytes
    started_at: float

    @classmethod
    def of(cls, admitted: Admitted, transfer: Transfer, until: float) -> Self:
        """All of ``admitted`` but its transport and socket; the owner may adopt it until then."""
        return cls(
            place=transfer.place,
            number=transfer.number,
            until=until,
            role=admitted.role,
            server_id=admitted.server_id,
            version=admitted.version,
            device_name=admitted.device_name,
            client=admitted.client,
            accept_token=admitted.accept_token,
            initial_data=admitted.initial_data,
            started_at=admitted.started_at,
        )

    @property
    def transfer(self) -> Transfer:
        """Where its sender counts it."""
        return Transfer(self.place, self.number)

    def admitted(
        self, transport: asyncio.Transport, sock: socket.SocketType, far_end: FarEnd | None
    ) -> Admitted:
        """The same in this process, with the transport that was made here from ``sock``."""
        return Admitted(
            role=self.role,
            server_id=self.server_id,
            version=self.version,
            device_name=self.device_name,
            client=self.client,
            accept_token=self.accept_token,
            initial_data=self.initial_data,
            transport=transport,
            sock=sock if far_end is None else far_end.sock,
            started_at=self.started_at,
            far_end=far_end,
        )


encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(HandedOver).decode
decode_answers: Final = msgspec.msgpack.Decoder(list[tuple[bool, int, int]]).decode
"""Of each connection whether it was adopted, its place and its number."""
