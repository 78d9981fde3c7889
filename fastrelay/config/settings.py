"""Every limit, interval and switch of one relay, frozen at start.

Other modules take these values as arguments, so that a test can use milliseconds. The defaults are
those of the protocol's limits table and of the command line.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

Network = IPv4Network | IPv6Network
KIB: Final = 1024
MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

LEAST_MESSAGE_BYTES: Final = 125
"""The smallest permitted message limit: the decoder does not check shorter lengths."""

LEAST_PER_ADDRESS: Final = 64
"""The smallest cap of one address that is chosen where none is given."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on. An empty host means all interfaces, IPv4 and IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """TLS with a certificate that the operator renews: PEM files of the chain and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """TLS with a certificate for ``domain`` that the relay obtains and renews (RFC 8555).

    Attributes:
        http_listen: where the CA fetches the answers to its challenges; it always uses port 80.
        cache: the directory of certificates and account keys.
        directory: URL of the CA's directory (RFC 8555 §7.1.1).
        email: an address to which the CA may send messages; ``None``: no address.
        ca_file: PEM file that verifies the CA's own HTTPS; ``None``: the system's certificates.
    """

    domain: str
    http_listen: Address
    cache: Path
    directory: str
    email: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """TLS with a certificate for ``domain`` that another process obtains and renews.

    Attributes:
        file: PEM of the key and the chain; it need not exist yet.
    """

    domain: str
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # it contains a key
class ServiceAccount:
    """The fields of a service account's JSON key that the relay uses.

    Its ``token_uri`` is not used. A flag says where signed assertions are sent.

    Attributes:
        project_id: the Firebase project of the devices; safe in a URL's path.
        client_email: the account's name.
        private_key: the PEM key that signs assertions.
        private_key_id: the id of that key at Google; may be empty.
    """

    project_id: str
    client_email: str
    private_key: str
    private_key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """How wakes are sent.

    Attributes:
        account: the service account that sends them.
        endpoint: base URL of the FCM HTTP v1 API, without a slash at its end.
        token_url: the URL from which access tokens are fetched.
        ca_file: PEM file that verifies both servers; ``None``: the system's certificates.
    """

    account: ServiceAccount
    endpoint: str
    token_url: str
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Times and time limits, in seconds.

    Attributes:
        head: the limit from accept, or from the last response, to a complete request head.
        linger: how long bytes are read and dropped after a refusal, so that the peer can read it.
        close: the limit from the relay's close frame to the peer's.
        ping: the time between two pings.
        pong: the limit from a ping to its pong.
        message: the limit from the first byte of a message to its last.
        write: the longest time in which the peer acknowledges none of the bytes that wait for it.
        tls_stall: the limit from a part of a TLS handshake message to the rest of it.
        takeover_probe: the limit from a conflicting claim's ping to the incumbent's pong.
        grace: how long a server-id stays reserved after its binary has gone.
        proxy_header: the limit from accept to a complete PROXY protocol header.
        certificate_check: the time between two checks of the certificate files.
        certificate_reload: the shortest time between two reloads of certificates.
        certificate_issue: the limit on all requests to a CA for one certificate together.
        drain: the limit from the first signal until all remaining connections are dropped.
        bucket_sweep: the time between two evictions of idle rate-limit buckets.
        log_flood: the time in which an event is logged at most twenty times, and then counted.
        push_call: the limit on one HTTP call to Google.
        push_token_margin: how long before its expiry an access token is no longer used.
        traffic_slice: the time in one loop iteration for all heavy connections together (see
            :mod:`fastrelay.loop.fair_reads`).
        newcomers: the time in one loop iteration for accepting, TLS handshakes and request heads.
        handover: the limit from an admitted request to its adoption by the worker that owns its
            server-id.
        worker_silent: how long a worker may show no sign of life before another worker accepts
            connections in its place.
        worker_hung: how long a worker may show no sign of life before it is killed.
        worker_start: until a worker that is started again and is not ready is killed.
        worker_restart, worker_restart_most: the wait before a worker is started again that has
            died twice within a minute, and the longest wait, up to which it doubles.
        tick: the resolution of the intervals that the timer wheel measures.
    """

    head: float = 5.0
    linger: float = 1.0
    close: float = 5.0
    ping: float = 30.0
    pong: float = 30.0
    message: float = 30.0
    write: float = 10.0
    tls_stall: float = 30.0
    takeover_probe: float = 10.0
    grace: float = 30.0
    proxy_header: float = 5.0
    certificate_check: float = 10.0
    certificate_reload: float = 1.0
    certificate_issue: float = 90.0
    drain: float = 10.0
    bucket_sweep: float = 300.0
    log_flood: float = 10.0
    push_call: float = 10.0
    push_token_margin: float = 60.0
    traffic_slice: float = 0.003
    newcomers: float = 0.002
    handover: float = 2.0
    worker_silent: float = 2.0
    worker_hung: float = 10.0
    worker_start: float = 60.0
    worker_restart: float = 0.1
    worker_restart_most: float = 30.0
    tick: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes and numbers: each is the largest that is permitted.

    Attributes:
        head_bytes: bytes of one request head.
        message_bytes: bytes of one message with all of its fragments.
        phones: phones registered under one server-id.
        upgrade_burst: upgrade attempts that one address may make at once; 0: there is no limit.
        upgrade_refill: seconds until an address may make one more attempt.
        buckets: addresses that the rate limiter remembers.
        connections: live WebSockets of the whole relay.
        connections_of_worker: live WebSockets of one process, whose descriptors are limited.
        connections_per_ip: live WebSockets of one address. 0: there is no such cap. ``None``: the
            cap is :attr:`connections_per_address`, and local peers have no cap.
        handshakes: connections of the public listener that are not upgraded yet. Beyond it, the
            oldest of the address that has the most of them is dropped.
        side_handshakes: the same for each of the other listeners.
        plain_burst: plain requests and TLS handshakes that one address may make at once.
        plain_refill: seconds until an address may make one more of them.
        phone_backlog_bytes: unsent bytes that are held for one phone.
        held_bytes: bytes of all kinds that are kept in memory for all peers together.
        phone_send_buffer: bytes that the kernel may hold for one phone; 0: the kernel chooses.
        binary_send_buffer: the same for one binary.
        binary_backlog_bytes: unsent bytes for one binary. Beyond it, the phones that have sent
            some of these bytes are not read.
        useless_frames: pings, pongs, empty fragments and malformed envelopes that one connection
            may send at once. One more ends the connection.
        useless_refill: how many more of them a connection may send in each second.
        push_burst: wakes that one server-id may ask for at once.
        push_refill: seconds until a server-id may ask for one more.
        push_in_flight: wakes of the whole relay that are being sent at the same time.
    """

    head_bytes: int = 16 * KIB
    message_bytes: int = 256 * KIB
    phones: int = 16
    upgrade_burst: int = 20
    upgrade_refill: float = 6.0
    buckets: int = 100_000
    connections: int = 10_000
    connections_of_worker: int = 10_000
    connections_per_ip: int | None = None
    handshakes: int = 1_000
    side_handshakes: int = 12
    plain_burst: int = 100
    plain_refill: float = 0.05
    phone_backlog_bytes: int = 4 * MIB
    held_bytes: int = 256 * MIB
    phone_send_buffer: int = 256 * KIB
    binary_send_buffer: int = MIB
    binary_backlog_bytes: int = 256 * KIB
    useless_frames: int = 1000
    useless_refill: float = 100.0
    push_burst: int = 6
    push_refill: float = 10.0
    push_in_flight: int = 32

    @property
    def connections_per_address(self) -> int:
        """The cap of one address that is in effect; 0 for none."""
        if self.connections_per_ip is not None:
            return self.connections_per_ip
        return max(LEAST_PER_ADDRESS, self.connections // 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One relay's configuration.

    Attributes:
        listen: the public listener.
        tls: the certificate of the public listener; ``None``: plain HTTP.
        proxy_headers: the peers whose PROXY protocol header is believed; it is then required of
            every connection, before TLS. ``None``: no header is read; empty: any peer.
        metrics_listen: where ``/metrics`` is served; ``None`` turns it off.
        trusted_proxies: peers whose ``X-Forwarded-For`` is believed; ``None``: no peer; empty: any
            peer.
        push: how wakes are sent; ``None`` turns them off.
        workers: processes that serve; 1: there is no other process.
        supervised: there is a supervisor even with one worker.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``logfmt`` or ``json``.
        unknown_variables: environment variables named like those of the relay that are none.
    """

    listen: Address
    tls: TlsFiles | Acme | Renewed | None = None
    proxy_headers: tuple[Network, ...] | None = None
    metrics_listen: Address | None = None
    trusted_proxies: tuple[Network, ...] | None = None
    push: Push | None = None
    intervals: Intervals = field(default_factory=Intervals)
    limits: Limits = field(default_factory=Limits)
    workers: int = 1
    supervised: bool = False
    log_level: str = "info"
    log_format: str = "logfmt"
    unknown_variables: tuple[str, ...] = ()
