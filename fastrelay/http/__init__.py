"""From the first byte of a connection to its 101: request head, response, handshake."""
