"""TLS in the process: ``layer`` is a transport over a transport, ``certificates`` what it shows."""
