"""A GET that limits the answer, because the server may not be a relay."""

import asyncio
from dataclasses import dataclass
from typing import Final

import h11

from fastrelay.tools.support.connection import Unexpected, connect, drop
from fastrelay.tools.support.endpoint import Endpoint

_READ_BYTES: Final = 16 * 1024
"""Small, because chunks of a byte take some 10 µs each, and time-outs wait."""
_TLS_RECORDS: Final = (b"\x15\x03", b"\x16\x03")
"""How a TLS alert and a TLS handshake begin."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response.

    Attributes:
        status: the status code.
        headers: by lower-case name; of several with one name the last.
        body: the decoded body, uncompressed.
        certificate: the server's, as :meth:`ssl.SSLSocket.getpeercert` returns it; empty without
            TLS.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    certificate: dict[str, object]


async def get(endpoint: Endpoint, target: str, agent: str, most: int) -> Answer:
    """The answer to ``GET target``, on a new connection. Redirects are not followed.

    Args:
        endpoint: the server.
        target: path and query.
        agent: the value of the User-Agent header.
        most: the most bytes that the body may have.

    Raises:
        Unexpected: the answer is no valid HTTP, is compressed, or is too long.
        OSError: there was no answer.
    """
    reader, writer = await connect(endpoint)
    try:
        status, headers, body = await _Exchange(endpoint, reader, most).run(writer, target, agent)
    except h11.RemoteProtocolError as error:
        raise Unexpected(f"a broken HTTP response: {error}") from None
    finally:
        await drop(writer)
    return Answer(status, headers, body, writer.get_extra_info("peercert") or {})


class _Exchange:
    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, most: int) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._most = most
        self._http = h11.Connection(h11.CLIENT)
        self._status = 0

    async def run(
        self, writer: asyncio.StreamWriter, target: str, agent: str
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """Send the request and read the response."""
        fields = [("Host", self._endpoint.authority), ("User-Agent", agent)]
        fields += [("Accept-Encoding", "identity"), ("Connection", "close")]
        writer.write(self._http.send(h11.Request(method="GET", target=target, headers=fields)))
        self._http.send(h11.EndOfMessage())
        headers: dict[bytes, bytes] = {}
        body = bytearray()
        while True:
            event = self._http.next_event()
            match event:
                case h11.NEED_DATA:
                    await self._receive()
                case h11.Response():
                    self._status, headers = event.status_code, dict(event.headers)
                    _refuse_compressed(headers)
                case h11.Data():
                    body += event.data
                    if len(body) > self._most:
                        raise Unexpected(f"HTTP {self._status} with more than {self._most} bytes")
                case h11.EndOfMessage():
                    return self._status, headers, bytes(body)

    async def _receive(self) -> None:
        try:
            data = await self._reader.read(_READ_BYTES)
        except ConnectionResetError:
            data = b""
        if not self._status:
            self._check_beginning(data)
        self._http.receive_data(data)
        if len(data) == _READ_BYTES:
            await asyncio.sleep(0)  # more may be there already, and reading that is no wait

    def _check_beginning(self, data: bytes) -> None:
        secure = f"{self._endpoint.plain_scheme}s://"
        if not data:
            hint = "" if self._endpoint.tls else f"if it serves TLS there, use {secure}"
            raise Unexpected("the end of the connection", hint)
        if data.startswith(_TLS_RECORDS):
            raise Unexpected("TLS, and no HTTP", f"use {secure}")


def _refuse_compressed(headers: dict[bytes, bytes]) -> None:
    coding = headers.get(b"content-encoding", b"identity")
    if coding.lower() != b"identity":
        raise Unexpected(
            f"a compressed body ({coding.decode('latin-1')}), which was not asked for",
            "a proxy in front compresses what was asked for as identity; turn that off there",
        )
