"""Guesses which flag, command, key or variable was meant by an unknown name."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

from fastrelay.config.flags import CREDENTIALS, FLAGS, PREFIX, PRODUCTION, SINGLE_INSTANCE

_LONGEST: Final = 80
"""Comparing takes time that grows with the square of the length, and no name is so long."""

_RELAY_PREFIX: Final = "PYRYCODE_RELAY_"
_VARIABLES: Final = (
    *(flag.variable for flag in FLAGS.values()),
    *(PRODUCTION, SINGLE_INSTANCE, CREDENTIALS),
)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A question whether ``name`` is a wrong spelling of one of ``names``, and a space.

    Empty if it is like none of them.
    """
    close = _closest(name, names)
    return f"did you mean {close}? " if close else ""


def unknown_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that are named like those of the relay and are none of them, sorted."""
    prefixes = (PREFIX, _RELAY_PREFIX)
    return tuple(sorted(n for n in environment if n.startswith(prefixes) and n not in _VARIABLES))


def ignored(variables: Iterable[str]) -> str:
    """Says that these variables have no effect, each with what it may have been meant to be."""
    return f"these variables are ignored: {', '.join(map(_with_guess, variables))}"


def _with_guess(variable: str) -> str:
    prefix = next(p for p in (PREFIX, _RELAY_PREFIX) if variable.startswith(p))
    # The prefix, which all have, would make any two look alike.
    rests = [name.removeprefix(prefix) for name in _VARIABLES if name.startswith(prefix)]
    close = _closest(variable.removeprefix(prefix).upper(), rests)
    return f"{variable} (did you mean {prefix}{close}?)" if close else variable


def _closest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name[:_LONGEST], list(names), n=1)
    return close[0] if close else ""
