"""fastrelay: a stateless WebSocket relay that joins phones to their user's daemon."""

__version__ = "0.1.0"
