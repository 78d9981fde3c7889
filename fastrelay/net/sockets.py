"""Functions that examine the socket of a transport."""

import asyncio
import select


def peer_has_left(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer has closed its side of TCP. No bytes are read from the socket."""
    poll = select.poll()
    try:
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))
    except (OSError, ValueError):  # there is no socket any more
        return True
