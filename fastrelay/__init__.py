"""fastrelay: a stateless WebSocket relay that connects phones with their user's daemon."""

__version__ = "0.1.0"
