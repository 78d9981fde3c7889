"""The names of metrics, which relay and tools share so that neither imports the other."""

from typing import Final

PREFIX: Final = "pyrycode_relay_"
"""The prefix of every metric family's name."""
