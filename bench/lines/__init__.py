"""Peers on slow lines: what survives, how long a small frame takes, and what the line carries."""
