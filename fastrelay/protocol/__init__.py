"""Formats on the wire, without I/O: frames, close codes, envelope, PROXY header."""
