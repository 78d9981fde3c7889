"""Contains exceptions: an exception on a connection ends that connection and no other.

Three kinds of code call a connection: code that acts for another peer, loops over all connections,
and the event loop. They call it only through methods with the decorator :func:`contained`, or
through ``Connection.send`` and ``Connection.send_frame``, which catch exceptions themselves to save
a call. An exception in such a method does not reach the caller; instead, the connection's
``crashed`` ends the connection.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class Crashable(Protocol):
    """A connection that can end itself after an exception."""

    def crashed(self, error: Exception) -> None:
        """End the connection, because one of its methods has raised ``error``."""


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
