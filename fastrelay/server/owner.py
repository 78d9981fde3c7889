"""Writes the 101 for an admitted request, makes its connection, and hands it to gate 6."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from fastrelay.http.handshake import switch_protocols
from fastrelay.http.status import StatusHook
from fastrelay.net.sockets import bound_send_buffer
from fastrelay.policy.caps import LiveConnections
from fastrelay.routing.router import Begin, Router
from fastrelay.server.admitted import Admitted, Role
from fastrelay.websocket.connection import Connection
from fastrelay.websocket.context import ConnectionContext, SentCounter
from fastrelay.websocket.handler import Handler


class UpgradeObserver(NamedTuple):
    """Observes the upgrades of one role.

    Attributes:
        first_status: called with each first status before it is written.
        observe_duration: called with the seconds that each upgrade took.
    """

    first_status: StatusHook
    observe_duration: Callable[[float], None]


class Owner:
    """Completes upgrades, and makes connections for the server-ids of this process.

    It needs only the :class:`Admitted`, and nothing else of the request.

    Args:
        send_buffers: the bytes that the kernel may take for a peer of each role; 0: it chooses.
    """

    def __init__(
        self,
        router: Router,
        context: ConnectionContext,
        live: LiveConnections[Connection],
        observers: Mapping[Role, UpgradeObserver],
        send_buffers: Mapping[Role, int],
    ) -> None:
        self._router = router
        self._context = context
        self._counts = router.context.counters.frames
        self._live = live
        self._send_buffers = send_buffers
        make = {Role.BINARY: self._binary, Role.PHONE: self._phone}
        self._steps = {role: (make[role], *observers[role]) for role in Role}

    def adopt(self, admitted: Admitted) -> None:
        """Answer with 101, and claim the server-id for a binary or register a phone."""
        transport = admitted.transport
        make, first_status, observe_duration = self._steps[admitted.role]
        try:
            # It is counted before the 101, because other workers must see it when the client does.
            begin = make(admitted)
            switch_protocols(transport, admitted.accept_token, first_status)
            begin(admitted.initial_data)
        except Exception:
            transport.abort()  # it is detached from HTTP, so no deadline would end it
            raise
        observe_duration(time.perf_counter() - admitted.started_at)

    def _binary(self, admitted: Admitted) -> Begin:
        binary = self._router.new_binary(admitted.server_id, admitted.version, admitted.client)
        sent = self._counts.phone_to_binary
        binary.connection = self._connect(admitted, binary, sent)
        return self._router.admit_binary(binary)

    def _phone(self, admitted: Admitted) -> Begin:
        phone = self._router.new_phone(admitted.server_id)
        sent = self._counts.binary_to_phone
        phone.connection = self._connect(admitted, phone, sent)
        return self._router.admit_phone(phone, admitted.device_name, admitted.client)

    def _connect(self, admitted: Admitted, handler: Handler, sent: SentCounter) -> Connection:
        if admitted.far_end is not None:
            self._context.far_ends[admitted.transport] = admitted.far_end
        bound_send_buffer(admitted.sock, self._send_buffers[admitted.role])
        connection = Connection(admitted.transport, handler, self._context, sent, admitted.sock)
        self._live.add(connection, admitted.client)
        return connection
