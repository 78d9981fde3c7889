"""The nine events of an upgrade attempt, from which the two upgrade families are derived."""

from typing import Final

from fastrelay.policy.cells import PRIVATE, Cells

EVENTS: Final = (
    "server_accept",
    "server_header_reject",
    "server_id_conflict",
    "server_rate_limit_deny",
    "client_accept",
    "client_header_reject",
    "client_no_server",
    "client_phones_at_cap",
    "client_rate_limit_deny",
)
"""One method each, and one cell: a process that is killed cannot have counted half an event."""


class UpgradeEvents:
    """Counts the events.

    Attributes:
        cells: the counts, in the order of :data:`EVENTS`.
    """

    def __init__(self, cells: Cells = PRIVATE) -> None:
        self.cells = cells.integers(len(EVENTS))

    def server_accept(self) -> None:
        """A binary's claim succeeded."""
        self.cells[0] += 1

    def server_header_reject(self) -> None:
        """A required header was missing or bad on ``/v1/server``: HTTP 400."""
        self.cells[1] += 1

    def server_id_conflict(self) -> None:
        """A live binary holds the server-id: close 4409."""
        self.cells[2] += 1

    def server_rate_limit_deny(self) -> None:
        """The rate limit refused an attempt on ``/v1/server``: HTTP 429."""
        self.cells[3] += 1

    def client_accept(self) -> None:
        """A phone was registered."""
        self.cells[4] += 1

    def client_header_reject(self) -> None:
        """A required header was missing or bad on ``/v1/client``: HTTP 400."""
        self.cells[5] += 1

    def client_no_server(self) -> None:
        """No binary holds the server-id: close 4404."""
        self.cells[6] += 1

    def client_phones_at_cap(self) -> None:
        """The server-id has the maximum number of phones: close 4429."""
        self.cells[7] += 1

    def client_rate_limit_deny(self) -> None:
        """The rate limit refused an attempt on ``/v1/client``: HTTP 429."""
        self.cells[8] += 1
