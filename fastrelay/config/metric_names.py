"""What relay and tools call metrics, so that neither needs the other."""

from typing import Final

PREFIX: Final = "pyrycode_relay_"
"""What every family's name begins with."""
