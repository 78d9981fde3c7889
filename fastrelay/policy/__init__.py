"""Decisions without sockets, event loop or clock: registry, caps, byte budget, rate limits.

Callers pass the clock in and carry out what is decided.
"""
