"""Where a relay's memory and CPU go: ``python -m bench profile``."""
