"""A metrics page that a test writes, in place of a relay's."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.broken_server import Conversation, broken_server

PREFIX = "pyrycode_relay_"


class Page:
    """What is served at the next look.

    Attributes:
        text: the page.
        looks: how often it was served.
        down: whether each connection is dropped instead.
    """

    def __init__(self) -> None:
        self.text = ""
        self.looks = 0
        self.down = False
        self.port = 0
        self.begin()

    def begin(self, start: float = 1000.0, frames: float = 0.0, more: str = "") -> None:
        """Write the page of a relay that was started at ``start``."""
        self.text = (
            f"process_start_time_seconds {start}\n"
            f'{PREFIX}build_info{{version="9.9",python="3"}} 1\n'
            f"{PREFIX}connected_binaries 3\n{PREFIX}connected_phones 4\n"
            f'{PREFIX}frames_forwarded_total{{direction="phone_to_binary"}} {frames}\n'
            f'{PREFIX}frames_forwarded_total{{direction="binary_to_phone"}} 0\n{more}'
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"

    async def _answer(self, conversation: Conversation) -> None:
        if not self.down:
            self.looks += 1
            body = self.text.encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            await conversation.send(head + body)
        conversation.writer.close()

    async def next_look(self, of: int = 1) -> None:
        """Wait until it was looked at so often again."""
        seen = self.looks
        async with asyncio.timeout(20):
            while self.looks < seen + of:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def served_page(tls: ssl.SSLContext | None = None) -> AsyncIterator[Page]:
    """A page on a port of its own."""
    page = Page()
    async with broken_server(page._answer, tls) as server:
        page.port = server.port
        yield page
