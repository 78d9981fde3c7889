"""Connections before their upgrade, over real sockets: which go, which wait, which are refused."""

import asyncio
import contextlib
import itertools
import socket
from collections import Counter
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from fastrelay.config.settings import Acme, Address
from fastrelay.policy.caps import FEW
from tests.support.attempts import CLIENT
from tests.support.certificates import authority, local_certificate
from tests.support.harness import RelayInProcess, running_relay
from tests.support.peer import HttpClient, request, upgrade_headers
from tests.wire.test_domain import NAME, NO_CA, kept
from tests.wire.test_proxy_protocol import header

TRUSTED = {"trusted_proxies": ()}
ON = {"upgrade_burst": 1000, "plain_refill": 1e6}
"""Buckets that are on, and that nothing comes back to."""


async def dial(port: int, source: str = "127.0.0.1") -> HttpClient:
    """A connection from one of the loopback addresses."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return HttpClient(*await asyncio.open_connection(sock=sock))


async def silent(relay: RelayInProcess, count: int, source: str, port: int = 0) -> list[HttpClient]:
    """Connections that say nothing."""
    return [relay.own(await dial(port or relay.port, source)) for _ in range(count)]


async def status(relay: RelayInProcess, path: str, **headers: str) -> int:
    """The answer to a request on a connection of its own."""
    client = await relay.http()
    client.send(request(path, headers))
    answer = (await client.response())[0]
    await client.close()
    return answer


# -- pending connections ----------------------------------------------------------------------


async def test_silent_sockets_of_one_address_drop_only_their_own() -> None:
    async with running_relay(limits={"handshakes": 10}) as relay:
        (honest,) = await silent(relay, 1, "127.0.0.3")
        honest.send(b"GET /healthz HTTP/1.1\r\n")  # a slow client, and the oldest of all
        await relay.until(lambda: relay.pending == 1)
        hostile = await silent(relay, 40, "127.0.0.2")
        for client in hostile[:30]:
            assert await client.at_eof()
        honest.send(b"Host: relay.test\r\n\r\n")
        assert (await honest.response())[0] == 200
        assert relay.value("refusals_total", reason="pending_full") == 31
        assert relay.pending == 10


async def test_the_address_is_that_of_the_proxy_header() -> None:
    limits = {"handshakes": 10}
    async with running_relay(tls=local_certificate(), proxy_headers=(), limits=limits) as relay:
        (honest,) = await silent(relay, 1, "127.0.0.1")
        honest.send(header("203.0.113.7"))
        opened = relay.relay.pending._by_key
        await relay.until(lambda: "203.0.113.7" in opened)
        for _ in range(20):
            (client,) = await silent(relay, 1, "127.0.0.1")
            client.send(header("203.0.113.8"))
        await relay.until(lambda: len(opened.get("203.0.113.8", ())) == 9)
        assert "203.0.113.7" in opened


async def test_a_listener_cannot_be_filled_through_another(tmp_path: Path) -> None:
    challenges = Address("127.0.0.1", 0)
    acme = Acme(domain=NAME, http_listen=challenges, cache=kept(tmp_path), directory=NO_CA)
    limits = {"handshakes": 3, "side_handshakes": 2}
    async with running_relay(tls=acme, limits=limits) as relay:
        (honest,) = await silent(relay, 1, "127.0.0.1")
        await relay.until(lambda: relay.pending == 1)
        for port in relay.relay.ports[1:]:
            hostile = await silent(relay, 12, "127.0.0.1", port)
            for client in hostile[:10]:
                assert await client.at_eof()
        assert relay.relay.listeners.pending == 5
        assert not honest.reader.at_eof()
        assert relay.pending == 1
        assert relay.value("refusals_total", reason="pending_full") == 20


# -- slices of time ---------------------------------------------------------------------------


async def accepted_by_iteration(relay: RelayInProcess, wanted: int) -> list[int]:
    """How many connections were accepted after each iteration of the loop."""
    accepted = [0]
    while accepted[-1] < wanted:
        await asyncio.sleep(0)
        opening = sum(len(listener._opening) for listener in relay.relay.listeners._listeners)
        accepted.append(max(accepted[-1], relay.pending, opening))
    return accepted


@contextlib.contextmanager
def many_waiting(port: int, count: int) -> Any:
    """Connections that the kernel has made and that are not accepted."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        yield


async def test_accepting_takes_all_that_wait_while_there_is_time() -> None:
    async with running_relay(intervals={"newcomers": 1e9}) as relay:
        with many_waiting(relay.port, 100):
            accepted = await accepted_by_iteration(relay, 100)
            assert max(b - a for a, b in itertools.pairwise(accepted)) == 100


async def test_accepting_without_time_takes_one_in_an_iteration() -> None:
    async with running_relay(intervals={"newcomers": 0.0}) as relay:
        with many_waiting(relay.port, 20):
            accepted = await accepted_by_iteration(relay, 20)
            assert max(b - a for a, b in itertools.pairwise(accepted)) <= 1


async def test_accepting_leaves_descriptors_free(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_relay(intervals={"newcomers": 1e9}) as relay:
        monkeypatch.setattr(relay.relay.listeners._listeners[0], "_last_descriptor", 0)
        with many_waiting(relay.port, 20):
            accepted = await accepted_by_iteration(relay, 20)
            assert max(b - a for a, b in itertools.pairwise(accepted)) <= 1


async def test_heads_without_time_are_read_one_in_an_iteration() -> None:
    async with running_relay(intervals={"newcomers": 0.0}) as relay:
        clients = [await relay.http() for _ in range(20)]
        await relay.until(lambda: relay.pending == 20)
        protocols = list(relay.relay.pending._connections)
        for client in clients:
            client.send(request("/healthz"))
        served = [0]
        while served[-1] < 20:
            await asyncio.sleep(0)
            served.append(sum(protocol._requests for protocol in protocols))
        assert max(b - a for a, b in itertools.pairwise(served)) == 1
        for client in clients:
            assert (await client.response())[0] == 200


async def test_pipelines_do_not_keep_a_newcomer_waiting() -> None:
    async with running_relay(intervals={"newcomers": 0.0}) as relay:
        hostile = [await relay.http() for _ in range(50)]
        await relay.until(lambda: relay.pending == 50)
        protocols = list(relay.relay.pending._connections)
        for client in hostile:
            client.send(request("/healthz") * 90)
        await relay.until(lambda: all(protocol._requests for protocol in protocols))
        await relay.binary()
        # Of every two requests one at least is a newcomer's. Some are answered while the kernel
        # carries its packets; if it had to wait for its turn, all of them would be.
        assert sum(protocol._requests for protocol in protocols) < 50 * 90 / 2


async def test_a_connection_that_ends_while_it_waits_is_let_go() -> None:
    async with running_relay(intervals={"newcomers": 0.0}) as relay:
        clients = [await relay.http() for _ in range(10)]
        await relay.until(lambda: relay.pending == 10)
        for client in clients:
            client.send(request("/healthz") * 5)
        for client in clients:
            await client.close()
        await relay.until(lambda: relay.pending == 0)
        assert await status(relay, "/healthz") == 200
        assert not relay.log_of("internal_error")


async def test_handshakes_wait_for_their_turn() -> None:
    intervals = {"newcomers": 0.0}
    async with running_relay(tls=local_certificate(), intervals=intervals) as relay:
        begun: list[int] = []
        iteration = 0
        buffers = relay.relay.listeners._listeners[0]._make_protocol("127.0.0.1", None)._buffers
        wrapped = buffers.newcomers._do

        def note(work: Any) -> None:
            begun.append(iteration)
            wrapped(work)

        buffers.newcomers._do = note
        dialling = [asyncio.create_task(relay.http()) for _ in range(8)]
        while not all(task.done() for task in dialling):
            iteration += 1
            await asyncio.sleep(0)
        clients = [await task for task in dialling]
        assert len(begun) >= len(clients)
        # The test may be called before or after them in an iteration.
        assert max(Counter(begun).values()) <= 2
        for client in clients:
            client.send(request("/healthz"))
            assert (await client.response())[0] == 200


# -- the bucket of plain requests and handshakes ------------------------------------------------


async def test_plain_requests_over_their_bucket_are_429() -> None:
    async with running_relay(limits=ON | {"plain_burst": 3}, **TRUSTED) as relay:
        public = {"X-Forwarded-For": "198.51.100.1"}
        client = await relay.http()
        for path in ("/healthz", "/none", "/healthz"):
            client.send(request(path, public))
            assert (await client.response())[0] in {200, 404}
        client.send(request("/healthz", public) * 2)
        answer, headers, body = await client.response()
        assert (answer, headers["connection"], body) == (429, "close", b"")
        assert int(headers["retry-after"]) > 0
        assert await client.at_eof()
        assert relay.value("refusals_total", reason="plain_requests") == 1
        assert len(relay.log_of("plain_rate_limited")) == 1
        # Neither the endpoints nor other addresses notice.
        assert await status(relay, "/v1/client", **upgrade_headers(CLIENT | public)) == 101
        assert await status(relay, "/healthz", **{"X-Forwarded-For": "198.51.100.2"}) == 200
        assert relay.value("ws_upgrade_attempts_total", endpoint="client", outcome="reject_404")
        assert not relay.value("register_failures_total", kind="ratelimit")


async def test_attempts_at_the_endpoints_take_nothing_from_it() -> None:
    async with running_relay(limits=ON | {"plain_burst": 1}, **TRUSTED) as relay:
        public = {"X-Forwarded-For": "198.51.100.1"}
        for _ in range(5):
            assert await status(relay, "/v1/client?a", **public) == 400
        assert await status(relay, "/healthz", **public) == 200
        assert await status(relay, "/healthz", **public) == 429


@pytest.mark.parametrize("client", ["127.0.0.1", "10.1.2.3", "192.168.7.7", "fd00::1", "::1"])
async def test_local_addresses_are_free_of_it(client: str) -> None:
    async with running_relay(limits=ON | {"plain_burst": 1}, **TRUSTED) as relay:
        for _ in range(5):
            assert await status(relay, "/healthz", **{"X-Forwarded-For": client}) == 200


async def test_it_is_off_with_the_limit_of_upgrades() -> None:
    limits = {"upgrade_burst": 0, "plain_burst": 1, "plain_refill": 1e6}
    async with running_relay(limits=limits, **TRUSTED) as relay:
        for _ in range(5):
            assert await status(relay, "/healthz", **{"X-Forwarded-For": "198.51.100.1"}) == 200


async def test_a_plain_token_comes_back_and_buckets_are_forgotten() -> None:
    limits = {"upgrade_burst": 9, "plain_burst": 1, "plain_refill": 0.001}
    async with running_relay(limits=limits, intervals={"bucket_sweep": 0.02}, **TRUSTED) as relay:
        public = {"X-Forwarded-For": "198.51.100.1"}
        assert await status(relay, "/healthz", **public) == 200
        buckets = relay.relay._plain_buckets
        assert buckets is not None
        await relay.until(lambda: len(buckets) == 0)
        assert await status(relay, "/healthz", **public) == 200


@contextlib.asynccontextmanager
async def relay_behind_proxy(**limits: Any) -> AsyncIterator[RelayInProcess]:
    """A relay with TLS that is told addresses by PROXY headers."""
    async with running_relay(tls=local_certificate(), proxy_headers=(), limits=limits) as relay:
        yield relay


async def shake_hands(relay: RelayInProcess, source: str) -> HttpClient:
    """TLS, behind a PROXY header."""
    sock = socket.socket()
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(sock, ("127.0.0.1", relay.port))
        await loop.sock_sendall(sock, header(source))
        return relay.own(
            HttpClient(
                *await asyncio.open_connection(
                    sock=sock, ssl=authority().client, server_hostname="127.0.0.1"
                )
            )
        )
    except BaseException:
        sock.close()
        raise


async def test_tls_over_the_bucket_is_dropped_before_the_server_hello() -> None:
    async with relay_behind_proxy(**ON | {"plain_burst": 2}) as relay:
        for _ in range(2):
            await shake_hands(relay, "203.0.113.7")
        over = relay.own(await dial(relay.port))
        over.send(header("203.0.113.7") + b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert await over.at_eof()  # not a byte, not even an alert
        assert relay.value("refusals_total", reason="tls_handshakes") == 1
        assert "remote=203.0.113.7" in relay.log_of("plain_rate_limited")[0]
        await shake_hands(relay, "203.0.113.8")
        for _ in range(4):
            await shake_hands(relay, "10.0.0.7")


async def test_a_request_over_tls_takes_two() -> None:
    async with relay_behind_proxy(**ON | {"plain_burst": 3}) as relay:
        client = await shake_hands(relay, "203.0.113.7")
        for answer in (200, 200, 429):
            client.send(request("/healthz"))
            assert (await client.response())[0] == answer


# -- the caps of addresses ----------------------------------------------------------------------


async def fill(relay: RelayInProcess, count: int, address: str) -> None:
    for number in range(count):
        source = address.format(number)
        await relay.binary(f"{source} {number}", **{"X-Forwarded-For": source})


async def refused(relay: RelayInProcess, address: str) -> bool:
    """Whether one more of that address gets 503."""
    answer = await status(relay, "/v1/client", **CLIENT, **{"X-Forwarded-For": address})
    assert answer in {400, 503}  # the header gate comes behind the caps
    return answer == 503


async def test_a_cap_of_each_address_is_on_by_default() -> None:
    async with running_relay(limits={"connections": 500}, **TRUSTED) as relay:
        await fill(relay, 64, "198.51.100.1")
        assert await refused(relay, "198.51.100.1")
        assert not await refused(relay, "198.51.100.2")
        assert relay.value("refusals_total", reason="address_full") == 1
        assert relay.value("connections_refused_total", cap="address") == 1


async def test_a_48_has_four_times_the_cap_of_a_64() -> None:
    async with running_relay(limits={"connections_per_ip": 2}, **TRUSTED) as relay:
        await fill(relay, 4, "2001:db8:0:{}::1")
        assert await refused(relay, "2001:db8:0:5::1")  # the same /56
        for subnet in (1, 2):
            await fill(relay, 2, f"2001:db8:0:{subnet}0{{}}::1")
        assert await refused(relay, "2001:db8:0:300::1")
        assert not await refused(relay, "2001:db8:1::1")


TRANSLATED = ["64:ff9b::", "64:ff9b:1:fffe::", "::ffff:0:"]
"""What translators put before IPv4 addresses: NAT64, NAT64 with a local prefix, SIIT."""


@pytest.mark.parametrize("prefix", TRANSLATED)
async def test_behind_a_translator_it_is_the_ipv4_address(prefix: str) -> None:
    async with running_relay(limits={"connections_per_ip": 2}, **TRUSTED) as relay:
        await fill(relay, 1, "198.51.100.1")
        await fill(relay, 1, f"{prefix}198.51.100.1")
        assert await refused(relay, f"{prefix}198.51.100.1")
        assert not await refused(relay, f"{prefix}198.51.100.2")


@pytest.mark.parametrize("prefix", TRANSLATED)
async def test_behind_a_translator_each_ipv4_address_has_a_bucket(prefix: str) -> None:
    limits = {"upgrade_burst": 1, "upgrade_refill": 1e6}
    async with running_relay(limits=limits, **TRUSTED) as relay:
        expected = {"198.51.100.1": 101, f"{prefix}198.51.100.1": 429, f"{prefix}198.51.100.2": 101}
        for address, status in expected.items():
            client = await relay.http()
            headers = {"X-Pyrycode-Server": address, "X-Pyrycode-Version": "1"}
            headers["X-Forwarded-For"] = address
            client.send(request("/v1/server", upgrade_headers(headers)))
            assert (await client.response())[0] == status


async def test_the_last_tenth_is_for_addresses_with_few() -> None:
    async with running_relay(limits={"connections": 50}, **TRUSTED) as relay:
        await fill(relay, 45, "198.51.100.1")
        assert await refused(relay, "198.51.100.1")
        assert relay.value("refusals_total", reason="reserve") == 1
        assert relay.value("connections_refused_total", cap="relay") == 1
        await fill(relay, min(5, FEW), "198.51.100.2")
        assert await refused(relay, "198.51.100.3")
        assert relay.value("refusals_total", reason="relay_full") == 1


async def test_local_peers_have_no_cap_unless_it_is_asked_for() -> None:
    for given, capped in ((None, False), (64, True)):
        limits = {"connections": 72, "connections_per_ip": given}
        async with running_relay(limits=limits, **TRUSTED) as relay:
            for number in range(64):
                await relay.binary(f"s{number}")
            for number in range(8):
                answer = await status(relay, "/v1/client", **CLIENT)
                assert answer == (503 if capped else 400), number
            (address,) = {relay.relay.live.address_of(one) for one in relay.relay.live}
            assert address == "127.0.0.1"  # what they hold is charged to it all the same
            # An address that a header names is no peer's own, be it private or not.
            assert not await refused(relay, "10.1.2.3")


async def test_a_private_address_in_a_header_has_a_cap() -> None:
    networks = {"trusted_proxies": (ip_network("127.0.0.0/8"),)}
    async with running_relay(limits={"connections": 100}, **networks) as relay:
        await fill(relay, 64, "10.1.2.3")
        assert await refused(relay, "10.1.2.3")


async def test_every_reason_is_there_from_the_first_scrape() -> None:
    async with running_relay() as relay:
        reasons = {
            labels: count
            for (name, labels), count in relay.samples().items()
            if name == "pyrycode_relay_refusals_total"
        }
        assert reasons == {
            (("reason", reason),): 0
            for reason in (
                *("relay_full", "reserve", "address_full", "owner_away", "pending_full"),
                *("plain_requests", "tls_handshakes"),
            )
        }
