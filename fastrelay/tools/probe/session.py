"""The connections of one round of the probe, and what is expected on each."""

import asyncio
import contextlib
import json
import re
import secrets
from typing import Final

from fastrelay import __version__
from fastrelay.tools.probe.client import (
    CloseReceived,
    ConnectionEnded,
    Incoming,
    TextReceived,
    WebSocket,
)
from fastrelay.tools.support.connection import Unexpected
from fastrelay.tools.support.endpoint import Endpoint

FIRST_FRAME: Final = b"7"
"""The first message of a phone, from which its binary learns its conn_id."""

_TOO_BIG: Final = 1009
_HINT_OF_TOO_BIG: Final = (
    "is the relay's --max-message-bytes smaller than that? Daemons and phones send as much: give it"
    " the default, 256KiB"
)
_PATIENCE: Final = 1.0
"""Seconds to wait for the close frame that explains why a message was not passed on."""


class Session:
    """The connections and values that the steps of one run share.

    Attributes:
        endpoint: where the relay listens.
        server_id: the random server-id of this run.
        token: the random token that the phones send.
        expectation: what must come next, as text for a :class:`Failure`.
        conn_ids: the conn_id of each phone that has joined, by the name of the phone.
        certificate_expires_at: seconds since the epoch; ``None`` without TLS.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.server_id = random_server_id()
        self.token = secrets.token_hex(16)
        self.expectation = ""
        self.conn_ids: dict[str, str] = {}
        self.certificate_expires_at: float | None = None
        self._sockets: dict[str, WebSocket] = {}

    async def connect_binary(self) -> None:
        """Connect as a binary that claims the server-id."""
        await self._connect("binary", "/v1/server", {"X-Pyrycode-Version": __version__})

    async def connect_phone(self, name: str, server_id: str) -> None:
        """Connect a phone called ``name`` to ``server_id``."""
        headers = {"X-Pyrycode-Token": self.token, "X-Pyrycode-Device-Name": "fastrelay probe"}
        await self._connect(name, "/v1/client", headers, server_id)

    async def _connect(
        self, name: str, path: str, headers: dict[str, str], server_id: str | None = None
    ) -> None:
        self.expectation = f"HTTP 101 from {path}"
        headers = {"X-Pyrycode-Server": server_id or self.server_id} | headers
        self._sockets[name] = await WebSocket.connect(self.endpoint, path, headers)

    async def send(self, name: str, data: bytes) -> None:
        """Send a text message on the connection called ``name``."""
        self.expectation = f"an open connection for what the {name} sends"
        await self._sockets[name].send(data)

    async def close(self, name: str, code: int) -> None:
        """Close the connection called ``name``, and expect the relay's close frame and its end."""
        self.expectation = f"{CloseReceived(code)}, in answer to that of the {name}"
        await self._sockets[name].close(code)
        await self.expect(name, CloseReceived(code), ConnectionEnded())

    async def expect(self, name: str, *expected: Incoming) -> None:
        """Expect exactly these events on the connection called ``name``, in this order.

        Raises:
            Unexpected: something else came.
        """
        for event in expected:
            self.expectation = f"{event}, for the {name}"
            got = await self._sockets[name].next()
            if got != event:
                self._raise_difference(event, got, name)
        if expected[-1] == ConnectionEnded():
            await self._sockets.pop(name).drop()

    def _raise_difference(self, expected: Incoming, got: Incoming, name: str) -> None:
        if isinstance(expected, TextReceived) and isinstance(got, TextReceived):
            start = max(0, _first_difference(expected.data, got.data) - 20)  # with some context
            self.expectation = f"{expected.shown(start)}, for the {name}"
            raise Unexpected(got.shown(start))
        raise Unexpected(str(got))

    async def expect_joined(self, name: str) -> None:
        """Expect the first message of the phone ``name`` at the binary, and store its conn_id."""
        start = b'{"conn_id":"client-%b-' % self.server_id.encode()
        end = b'","frame":%b}' % FIRST_FRAME
        self.expectation = f"text {start + b'(8 hex digits)' + end!r}, for the binary"
        got = await self._sockets["binary"].next()
        pattern = re.escape(start) + b"[0-9a-f]{8}" + re.escape(end)
        if not isinstance(got, TextReceived) or not re.fullmatch(pattern, got.data):
            raise Unexpected(str(got))
        self.conn_ids[name] = json.loads(got.data)["conn_id"]

    async def pass_on(self, sender: str, sent: bytes, receiver: str, expected: bytes) -> None:
        """Send a text message, and expect what the relay makes of it.

        Raises:
            Unexpected: something else came. If the connection of the sender ended as it does when
                a message is too big, the text says so.
        """
        try:
            await self.send(sender, sent)
            await self.expect(receiver, TextReceived(expected))
        except (Unexpected, ConnectionError):
            end = await self._end_of(sender)
            if end is None:
                raise
            self.expectation = f"a message of {len(sent)} bytes, passed on to the {receiver}"
            raise Unexpected(f"{end}, for the {sender}", _HINT_OF_TOO_BIG) from None

    async def _end_of(self, name: str) -> Incoming | None:
        """How the connection called ``name`` ended, if that may be because of a message's size."""
        try:
            async with asyncio.timeout(_PATIENCE):
                event = await self._sockets[name].next()
        except (Unexpected, TimeoutError):
            return None
        except OSError:
            # A relay that reads no further resets the connection, and its close frame is lost.
            return ConnectionEnded()
        if event == ConnectionEnded() or (
            isinstance(event, CloseReceived) and event.code == _TOO_BIG
        ):
            return event
        return None

    async def other_messages(self) -> str:
        """What other connections have received meanwhile, as text that may explain a failure."""
        received = []
        for name, websocket in self._sockets.items():
            with contextlib.suppress(TimeoutError, Unexpected, OSError):
                async with asyncio.timeout(0):  # only what has been received already
                    received.append(f"; but the {name} got {await websocket.next()}")
        return "".join(received)

    async def drop(self) -> None:
        """Abort all connections."""
        for websocket in self._sockets.values():
            await websocket.drop()


def random_server_id() -> str:
    """A server-id that no binary has."""
    return f"probe-{secrets.token_hex(8)}"


def _first_difference(one: bytes, other: bytes) -> int:
    """The index of the first byte that differs."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))
