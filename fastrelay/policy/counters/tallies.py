"""Single counters of events, and the numbers of binaries and phones that are connected now."""


class Tallies:
    """Events since the start.

    Attributes:
        takeovers: the incumbents that lost their server-id because they did not answer a ping.
        evictions: the phones closed because their binary was replaced.
        grace_expiries: the server-ids removed because no binary claimed them in time.
        internal_errors: the exceptions that the relay did not expect.
        relay_full: upgrade attempts refused at the relay-wide cap.
        reserve: refused because only the reserve was left, and the address had too many already.
        address_full: refused because the address, or a network around it, was at its own cap.
        owner_away: refused because the worker that owns the server-id could not be reached.
        pending_full: connections dropped because too many were not upgraded yet.
        stalls: how often the process has stalled.
        stall_milliseconds: how long all stalls together were.
        plain_requests: plain requests over the limit, answered with 429.
        tls_handshakes: TLS handshakes over the limit, dropped.
    """

    __slots__ = (
        "address_full",
        "evictions",
        "grace_expiries",
        "internal_errors",
        "owner_away",
        "pending_full",
        "plain_requests",
        "relay_full",
        "reserve",
        "stall_milliseconds",
        "stalls",
        "takeovers",
        "tls_handshakes",
    )

    def __init__(self) -> None:
        self.takeovers = self.evictions = self.grace_expiries = self.internal_errors = 0
        self.relay_full = self.reserve = self.address_full = self.owner_away = 0
        self.stalls = self.stall_milliseconds = 0
        self.pending_full = self.plain_requests = self.tls_handshakes = 0


class Connected:
    """What is connected now.

    Attributes:
        binaries: the server-ids that are held; those in grace do not count.
        phones: the registered phones, also those of server-ids in grace.
    """

    __slots__ = ("binaries", "phones")

    def __init__(self) -> None:
        self.binaries = self.phones = 0
