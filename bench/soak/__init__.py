"""Honest and hostile traffic against one relay, and what became of it."""
