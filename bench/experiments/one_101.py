"""One 101 for all with the token filled in, against a wsproto handshake for each upgrade.

Found, changed against shipped: CPU an upgrade 1.65.
"""

from fastrelay.http import handshake

IDLE = True


def change() -> None:
    """Perform every handshake."""
    handshake.switching_protocols = handshake._perform
