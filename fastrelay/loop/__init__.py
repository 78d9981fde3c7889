"""Mechanisms of the event loop: timers, and fairness between connections that read."""
