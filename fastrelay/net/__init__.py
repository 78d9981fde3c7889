"""Listening sockets, PROXY headers and TLS: everything up to a connection's transport."""
