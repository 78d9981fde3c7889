"""Silence without FIN: the network between relay and peer loses every packet."""

from fastrelay.config.settings import Address
from tests.support.harness import running_relay
from tests.support.netns import OtherHost
from tests.support.peer import PING, PONG, client_frame, open_peer


async def test_a_cable_is_pulled(far: OtherHost) -> None:
    settings = {"listen": Address(far.relay_host, 0)}
    intervals = {"ping": 0.3, "pong": 0.3, "grace": 0.1, "close": 0.1}
    async with running_relay(intervals=intervals, **settings) as relay:
        lost = {"X-Pyrycode-Server": "lost", "X-Pyrycode-Version": "1"}
        sock = await far.connect(relay.port)
        binary = relay.own(await open_peer(relay.port, "/v1/server", lost, sock=sock))
        near = {"X-Pyrycode-Server": "near", "X-Pyrycode-Version": "1"}
        other = relay.own(await open_peer(relay.port, "/v1/server", near, host=far.relay_host))
        assert relay.value("connected_binaries") == 2
        far.pull_the_cable()
        for _ in range(3):
            frame = await other.frame()
            assert frame.opcode == PING
            other.send(client_frame(frame.payload, PONG))
        await relay.until(lambda: relay.value("grace_expiries_total") == 1)
        assert relay.value("connected_binaries") == 1
        (ended,) = relay.log_of("binary_forwarder_read_end")
        assert 'err="closed by relay: heartbeat timeout (1011)"' in ended
        await relay.until(lambda: relay.live == 1)
        await binary.close()


async def test_a_binary_back_on_another_network_takes_over(far: OtherHost) -> None:
    settings = {"listen": Address(far.relay_host, 0)}
    async with running_relay(intervals={"takeover_probe": 0.2, "close": 0.1}, **settings) as relay:
        headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1"}
        sock = await far.connect(relay.port)
        relay.own(await open_peer(relay.port, "/v1/server", headers, sock=sock))
        far.pull_the_cable()
        relay.own(await open_peer(relay.port, "/v1/server", headers, host=far.relay_host))
        await relay.until(lambda: relay.log_of("server_id_takeover"))
        await relay.until(lambda: relay.live == 1)
