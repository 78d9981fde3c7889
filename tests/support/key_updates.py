"""A TLS client that can do what Python's cannot: say that its key changes (RFC 8446 §4.6.3)."""

import _ssl
import ctypes
import socket

_OPENSSL = ctypes.CDLL(_ssl.__file__)  # whatever Python itself is linked with
_POINTER = ctypes.c_void_p
for _name in ("TLS_client_method", "SSL_CTX_new", "SSL_new", "BIO_s_mem", "BIO_new"):
    getattr(_OPENSSL, _name).restype = _POINTER
_SIZE = 1 << 20


def _call(name: str, *arguments: object) -> int:
    return int(getattr(_OPENSSL, name)(*arguments) or 0)


class TalkativeClient:
    """Blocking, trusts everybody, and leaves its few kilobytes of OpenSSL to the process's end."""

    def __init__(self, port: int, window: int = 0) -> None:
        self.sock = socket.socket()
        if window:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.sock.settimeout(10)
        self.sock.connect(("127.0.0.1", port))
        context = _POINTER(_call("SSL_CTX_new", _POINTER(_call("TLS_client_method"))))
        self._ssl = _POINTER(_call("SSL_new", context))
        method = _POINTER(_call("BIO_s_mem"))
        self._incoming, self._outgoing = (_POINTER(_call("BIO_new", method)) for _ in range(2))
        _call("SSL_set_bio", self._ssl, self._incoming, self._outgoing)
        _call("SSL_set_connect_state", self._ssl)

    def shake_hands(self) -> None:
        """Do the handshake."""
        self.sock.sendall(self.last_flight())

    def last_flight(self) -> bytes:
        """Do the handshake up to the client's last messages, which are returned."""
        while _call("SSL_do_handshake", self._ssl) != 1:
            self.sock.sendall(self._said())
            self._hear()
        return self._said()

    def encrypted(self, data: bytes) -> bytes:
        """A record of application data."""
        assert _call("SSL_write", self._ssl, data, len(data)) == len(data)
        return self._said()

    def key_updates(self, count: int) -> bytes:
        """As many records, each of which says that the next has a new key."""
        for _ in range(count):
            assert _call("SSL_key_update", self._ssl, 0) == 1
            assert _call("SSL_do_handshake", self._ssl) == 1
        return self._said()

    def _hear(self) -> None:
        data = self.sock.recv(65536)
        assert data, "the relay hung up"
        _call("BIO_write", self._incoming, data, len(data))

    def _said(self) -> bytes:
        room = ctypes.create_string_buffer(_SIZE)
        size = _call("BIO_read", self._outgoing, room, _SIZE)
        return room.raw[: max(size, 0)]
