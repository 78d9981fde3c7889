"""The seam between admission and all that follows it: one value, which another relay can adopt."""

import pickle

import msgspec
import pytest

from fastrelay.http.handshake import switch_protocols
from fastrelay.server.admitted import Admitted
from fastrelay.server.owner import Owner
from tests.support.attempts import CLIENT, ask, attempts
from tests.support.harness import running_relay
from tests.support.peer import client_frame, request, upgrade_headers

DURATIONS = "upgrade_duration_seconds_count"


def copy_of(admitted: Admitted) -> Admitted:
    """What would arrive in another process: the transport, and a copy of all else."""
    fields = msgspec.structs.asdict(admitted)
    transport, sock = fields.pop("transport"), fields.pop("sock")
    return Admitted(transport=transport, sock=sock, **pickle.loads(pickle.dumps(fields)))


@pytest.fixture
def first_relay_owns_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever relay admits it, the relay that was started first adopts it."""
    owners: list[Owner] = []
    make, adopt = Owner.__init__, Owner.adopt

    def noted(self: Owner, *args: object) -> None:
        make(self, *args)  # type: ignore[arg-type]
        owners.append(self)

    monkeypatch.setattr(Owner, "__init__", noted)
    monkeypatch.setattr(Owner, "adopt", lambda _, admitted: adopt(owners[0], copy_of(admitted)))


@pytest.mark.usefixtures("first_relay_owns_all")
async def test_what_one_relay_admits_another_adopts() -> None:
    async with running_relay() as owner, running_relay(limits={"connections": 9}) as acceptor:
        binary = await acceptor.binary()
        early = await acceptor.http()
        head = request("/v1/client", upgrade_headers(CLIENT | {"X-Pyrycode-Device-Name": "Ann"}))
        early.send(head + client_frame(b'"with the head"'))
        assert (await early.response())[0] == 101
        assert (await binary.json())["frame"] == "with the head"
        phone = await owner.phone()
        phone.send_text("2")
        assert (await binary.json())["frame"] == 2
        assert "device_name=Ann" in owner.log_of("phone_registered")[0]
        assert "binary_version=1.2.3" in owner.log_of("server_claimed")[0]
        assert (owner.live, acceptor.live, acceptor.pending) == (3, 0, 0)
        assert attempts(owner) == {("server", "accept"): 1, ("client", "accept"): 2}
        assert not attempts(acceptor)
        assert [owner.value(DURATIONS, endpoint=name) for name in ("server", "client")] == [1, 2]
        assert acceptor.value(DURATIONS, endpoint="client") == 0


@pytest.mark.usefixtures("first_relay_owns_all")
async def test_a_refusal_is_the_acceptors_alone() -> None:
    limits = {"upgrade_burst": 1, "upgrade_refill": 1e6}
    async with running_relay() as owner, running_relay(limits=limits) as acceptor:
        await acceptor.binary()
        assert (await ask(acceptor, "/v1/client", upgrade_headers(CLIENT)))[0] == 429
        assert attempts(acceptor) == {("client", "reject_rate_limit"): 1, ("ratelimit",): 1}
        assert attempts(owner) == {("server", "accept"): 1}
        assert acceptor.value(DURATIONS, endpoint="client") == 1


async def test_a_connection_counts_before_its_101_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other processes count it as soon as its client, which has the 101, can try again."""
    seen: list[tuple[float, ...]] = []
    async with running_relay() as relay:

        def switching(*args: object) -> None:
            counted = (relay.value(f"connected_{kind}") for kind in ("binaries", "phones"))
            seen.append((relay.live, *counted))
            switch_protocols(*args)  # type: ignore[arg-type]

        monkeypatch.setattr("fastrelay.server.owner.switch_protocols", switching)
        await relay.binary()
        await relay.phone()
        assert seen == [(1, 1, 0), (2, 1, 1)]
