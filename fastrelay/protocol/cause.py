"""The causes of the ends of connections."""

from enum import Enum


class Cause(Enum):
    """What ended a connection; each value is a label of the metrics, explained in operations.md."""

    PEER_CLOSED = "peer_closed"
    PEER_LOST = "peer_lost"
    SHUTDOWN = "shutdown"
    PROTOCOL_ERROR = "protocol_error"
    INVALID_PAYLOAD = "invalid_payload"
    TOO_BIG = "too_big"
    HEARTBEAT_TIMEOUT = "heartbeat_timeout"
    MESSAGE_TIMEOUT = "message_timeout"
    WRITE_FAILED = "write_failed"
    TAKEN_OVER = "taken_over"
    SERVER_IN_USE = "server_in_use"
    TRY_AGAIN = "try_again"
    BACKLOG_FULL = "backlog_full"
    MEMORY_LIMIT = "memory_limit"
    NO_BINARY = "no_binary"
    GRACE_EXPIRED = "grace_expired"
    RECLAIMED = "reclaimed"
    NO_SERVER = "no_server"
    PHONES_AT_CAP = "phones_at_cap"
    DIRECTED = "directed"
    TLS_STALLED = "tls_stalled"
    TLS_FAILED = "tls_failed"
    USELESS_FRAMES = "useless_frames"
    INTERNAL_ERROR = "internal_error"


class Aborted(Exception):
    """The argument of ``connection_lost`` when a transport has ended the connection itself."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause
