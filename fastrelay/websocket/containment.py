"""The boundary between peers: an exception ends the connection on which it arose, and no other.

Other peers' calls, loops over all connections and the event loop come in through methods with the
decorator :func:`contained`, or through ``Connection.send`` and ``Connection.send_frame``, which do
the same without the cost of a call. So a caller goes on, and the connection whose method raised is
ended by its ``crashed``.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class Crashable(Protocol):
    """A connection that can end itself after an exception."""

    def crashed(self, error: Exception) -> None:
        """End, since one of the methods has raised ``error``."""


_Arguments = ParamSpec("_Arguments")
_Connection = TypeVar("_Connection", bound=Crashable)


def contained(
    method: Callable[Concatenate[_Connection, _Arguments], None],
) -> Callable[Concatenate[_Connection, _Arguments], None]:
    """Keep an exception of ``method`` within the connection it belongs to."""

    @wraps(method)
    def call(self: _Connection, /, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> None:
        try:
            method(self, *arguments, **named)
        except Exception as error:
            self.crashed(error)

    return call
