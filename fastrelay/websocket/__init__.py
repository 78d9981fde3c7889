"""RFC 6455 after the handshake: the live connection, its deadlines and its send queue."""
