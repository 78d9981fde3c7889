"""HTTP/1.1 up to the 101: request heads, responses, and the WebSocket handshake."""
