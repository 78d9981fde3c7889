"""From the first byte of a connection to its 101: request head, gates, responses, handshake."""
