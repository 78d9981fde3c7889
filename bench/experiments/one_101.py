"""One 101 for all with the token filled in, against a wsproto handshake for each upgrade.

What it costs is in docs/performance.md (what made the difference).
"""

from fastrelay.http import handshake

IDLE = True


def change() -> None:
    """Perform every handshake, for the token in its 101."""

    def accept_token(key: bytes) -> bytes:
        head = handshake._perform(key)
        return head.removeprefix(handshake._BEFORE_TOKEN).removesuffix(handshake._AFTER_TOKEN)

    handshake.generate_accept_token = accept_token
