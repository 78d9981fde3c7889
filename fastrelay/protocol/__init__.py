"""Bytes in, values out, without I/O: frames, close codes, envelope, PROXY header."""
