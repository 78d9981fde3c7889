"""TLS in this process: ``layer`` is a transport over a transport, ``session`` calls OpenSSL."""
