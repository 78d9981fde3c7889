"""RFC 6455 after the handshake: the frame codec (sans-I/O) and the live connection."""
