"""Counts what is refused before an upgrade attempt, by reason."""

from enum import StrEnum

from fastrelay.policy.cells import PRIVATE, Cells, KeyedCells
from fastrelay.protocol.proxy_v2 import Fault
from fastrelay.protocol.required_headers import REQUIRED


class HandshakeFault(StrEnum):
    """Why a TLS handshake that a client has begun was not completed."""

    NOT_TLS = "not_tls"
    VERSION = "version"
    NOTHING_SHARED = "nothing_shared"
    CERTIFICATE_REFUSED = "certificate_refused"
    ALERT = "alert"
    MALFORMED = "malformed"
    CLOSED = "closed"
    UNFINISHED = "unfinished"


class RefusedCounts:
    """The counts of one relay.

    Attributes:
        headers: the requests that the header gate refused, by endpoint and by the first header
            that was missing or bad, both in lower case.
        proxy_headers: the connections dropped for their PROXY header.
        handshakes: the TLS handshakes that failed.
    """

    def __init__(self, cells: Cells = PRIVATE) -> None:
        self.headers = KeyedCells(
            (
                (endpoint, header.name.decode())
                for endpoint, headers in REQUIRED.items()
                for header in headers
            ),
            cells,
        )
        self.proxy_headers = KeyedCells(Fault, cells)
        self.handshakes = KeyedCells(HandshakeFault, cells)
