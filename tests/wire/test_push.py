"""Push wakes: which are sent, how many, and that nobody is held up (protocol, push wake)."""

import asyncio
from typing import Any

import pytest

from tests.support.google import DEVICE, answer, google
from tests.support.harness import running_relay
from tests.support.pushing import DROPPED, FAILED, ended, only, outcomes, pushing, reason, wake

# -- it works -------------------------------------------------------------------------------

CLOCK_STEP = 0.002
"""Seconds by which a difference of two readings of the loop's clock may be off."""


async def test_a_wake_reaches_the_device() -> None:
    async with google() as fake, pushing(fake) as relay:
        assert outcomes(relay) == only()
        binary = await relay.binary()
        wake(binary)
        assert await ended(relay, 1) == only(sent=1)
        assert (fake.messages, fake.refused, len(fake.grants)) == ([DEVICE], [], 1)
        assert not relay.log_of(FAILED)


async def test_the_endpoints_are_looked_up_by_name() -> None:
    async with google() as fake:
        url = f"https://localhost:{fake.port}"
        async with pushing(fake, push={"endpoint": url, "token_url": f"{url}/token"}) as relay:
            wake(await relay.binary())
            assert await ended(relay, 1) == only(sent=1)


async def test_the_access_token_is_used_again() -> None:
    async with google() as fake, pushing(fake) as relay:
        binary = await relay.binary()
        for count in (1, 2, 3):
            wake(binary)
            assert await ended(relay, count) == only(sent=count)
        assert len(fake.grants) == 1


async def test_an_access_token_about_to_expire_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrelay.push.access_token._LEAST_LIFETIME", 0.0)
    async with google() as fake, pushing(fake) as relay:
        fake.expires_in = 60  # which is the margin
        binary = await relay.binary()
        for count in (1, 2):
            wake(binary)
            assert await ended(relay, count) == only(sent=count)
            assert len(fake.grants) == count


async def test_sends_that_need_a_token_share_its_fetch() -> None:
    async with google() as fake, pushing(fake) as relay:
        fake.on_token = fake.wait
        for number in range(20):
            wake(await relay.binary(f"s{number}"))
        await relay.until(lambda: relay.relay.waker.in_flight == 20)
        await relay.until(lambda: fake.calls)
        fake.go.set()
        assert await ended(relay, 20) == only(sent=20)
        assert len(fake.grants) == 1


async def test_a_failed_fetch_fails_all_who_waited_for_it() -> None:
    async with google() as fake, pushing(fake, intervals={"push_call": 0.6}) as relay:
        fake.on_token = fake.wait
        for number in range(5):
            wake(await relay.binary(f"s{number}"))
        assert await ended(relay, 5) == only(token_fetch_failed=5)
        fake.go.set()
        fake.on_token = fake.token
        wake(await relay.binary("next"))  # asks anew
        assert await ended(relay, 6) == only(token_fetch_failed=5, sent=1)


async def test_a_rejected_access_token_is_replaced_once() -> None:
    async with google() as fake, pushing(fake) as relay:
        binary = await relay.binary()
        wake(binary)
        await ended(relay, 1)
        fake.valid.clear()
        wake(binary)
        assert await ended(relay, 2) == only(sent=2)
        assert len(fake.grants) == 2
        fake.on_send = answer(401, error="UNAUTHENTICATED")
        before = len(fake.calls)
        wake(binary)
        assert await ended(relay, 3) == only(sent=2, send_failed=1)
        assert len(fake.calls) - before == 3  # send, token, send
        assert reason(relay) == "HTTP 401 UNAUTHENTICATED"


async def test_no_fresh_token_for_a_rejected_one() -> None:
    async with google() as fake, pushing(fake) as relay:
        binary = await relay.binary()
        wake(binary)
        await ended(relay, 1)
        fake.valid.clear()
        fake.on_token = answer(500)
        wake(binary)
        assert await ended(relay, 2) == only(sent=1, token_fetch_failed=1)
        assert reason(relay) == "access token: HTTP 500"


# -- what is not sent -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"platform": "apns", "token": DEVICE}, "platform is not fcm"),
        ({"platform": "FCM", "token": DEVICE}, "platform is not fcm"),
        ({"platform": "fcm", "token": ""}, "empty token"),
        ({"platform": "fcm", "token": DEVICE * 100}, "token too long"),
        ({"platform": "fcm"}, "not a push_wake object"),
        ({"token": DEVICE}, "not a push_wake object"),
        ({"platform": "fcm", "token": [DEVICE]}, "not a push_wake object"),
        ({"platform": {"fcm": 1}, "token": DEVICE}, "not a push_wake object"),
        ([DEVICE], "not a push_wake object"),
        (DEVICE, "not a push_wake object"),
        (True, "not a push_wake object"),
    ],
)
async def test_an_unusable_wake_is_dropped(request_: Any, why: str) -> None:
    async with google() as fake, pushing(fake) as relay:
        binary = await relay.binary()
        binary.send_json({"push_wake": request_})
        assert await ended(relay, 1) == only(dropped=1)
        (line,) = relay.log_of(DROPPED)
        assert f'err="{why}"' in line
        assert "server_id=s1 binary_conn_id=server-s1-" in line
        wake(binary)  # it stays connected, and its next wake is sent
        assert await ended(relay, 2) == only(dropped=1, sent=1)
        assert fake.messages == [DEVICE]


async def test_a_token_is_passed_on_as_it_is() -> None:
    odd = 'a"\\\r\n\0é\U0001f4f1/../'
    async with google() as fake, pushing(fake) as relay:
        wake(await relay.binary(), odd)
        assert await ended(relay, 1) == only(sent=1)
        assert fake.messages == [odd]


async def test_a_phone_cannot_ask_for_a_wake() -> None:
    async with google() as fake, pushing(fake) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        wake(phone)
        assert (await binary.json())["frame"] == {"push_wake": {"platform": "fcm", "token": DEVICE}}
        assert outcomes(relay) == only()
        assert fake.calls == []


async def test_one_server_id_has_six_wakes_and_gets_them_back() -> None:
    async with google() as fake, pushing(fake) as relay:
        binary = await relay.binary()
        for _ in range(10):
            wake(binary)
        assert await ended(relay, 10) == only(sent=6, dropped=4)
        assert len(relay.log_of(DROPPED)) == 4
        assert 'err="too many wakes for server-id"' in relay.log_of(DROPPED)[0]
        await binary.say_goodbye()  # a new connection is not a new bucket
        binary = await relay.binary()
        wake(binary)
        assert await ended(relay, 11) == only(sent=6, dropped=5)
        wake(await relay.binary("s2"))
        assert await ended(relay, 12) == only(sent=7, dropped=5)


async def test_a_wake_comes_back_after_the_refill() -> None:
    async with google() as fake:
        async with pushing(fake, limits={"push_burst": 1, "push_refill": 0.5}) as relay:
            binary = await relay.binary()
            started = asyncio.get_running_loop().time()
            while outcomes(relay)["sent"] < 2:
                wake(binary)
                await asyncio.sleep(0.02)
            # The loop's clock counts milliseconds, and their difference is not exact.
            assert asyncio.get_running_loop().time() - started > 0.5 - CLOCK_STEP
            assert outcomes(relay)["dropped"] > 0


async def test_the_limits_hold_under_a_flood_from_many_server_ids() -> None:
    async with google() as fake, pushing(fake) as relay:
        fake.on_send = fake.wait
        binaries = [await relay.binary(f"s{number}") for number in range(40)]
        for _ in range(8):
            for binary in binaries:
                wake(binary)
        await relay.until(lambda: outcomes(relay)["dropped"] == 40 * 8 - 32)
        await relay.until(lambda: fake.in_flight == 32)
        assert relay.relay.waker.in_flight == 32
        assert any('err="too many wakes in flight"' in line for line in relay.log_of(DROPPED))
        fake.go.set()
        assert await ended(relay, 40 * 8) == only(sent=32, dropped=40 * 8 - 32)
        assert fake.most_in_flight == 32
        wake(await relay.binary("fresh"))  # room again
        assert await ended(relay, 40 * 8 + 1) == only(sent=33, dropped=40 * 8 - 32)


async def test_what_the_relay_wide_limit_refuses_costs_the_server_id_nothing() -> None:
    async with google() as fake, pushing(fake, limits={"push_in_flight": 1}) as relay:
        fake.on_send = fake.wait
        first, binary = await relay.binary("first"), await relay.binary()
        wake(first)
        await relay.until(lambda: fake.in_flight == 1)
        for _ in range(9):
            wake(binary)
        await relay.until(lambda: outcomes(relay)["dropped"] == 9)
        fake.go.set()
        await ended(relay, 10)
        for sent in range(2, 8):
            wake(binary)
            await ended(relay, 9 + sent)
        assert outcomes(relay) == only(sent=7, dropped=9)


# -- others are not held up -----------------------------------------------------------------


async def test_frames_flow_while_sends_hang() -> None:
    async with google() as fake, pushing(fake) as relay:
        fake.on_send = fake.wait
        binary, phone = await relay.binary(), await relay.phone()
        phone.send_text("0")
        conn_id = (await binary.json())["conn_id"]
        for number in range(20):
            wake(binary)
            binary.send_json({"conn_id": conn_id, "frame": number})
            assert await phone.json() == number
            phone.send_text(str(number))
            assert (await binary.json())["frame"] == number
        await relay.until(lambda: fake.in_flight == 6)
        assert outcomes(relay) == only(dropped=14)


async def test_a_send_outlives_its_binary() -> None:
    async with google() as fake, pushing(fake, intervals={"grace": 0.01}) as relay:
        fake.on_send = fake.wait
        binary = await relay.binary()
        wake(binary)
        await relay.until(lambda: fake.in_flight == 1)
        await binary.close()
        await relay.until(lambda: relay.registry_size == 0)
        assert outcomes(relay) == only()
        fake.go.set()
        assert await ended(relay, 1) == only(sent=1)


async def test_the_drain_waits_for_a_send() -> None:
    async with google() as fake, pushing(fake) as relay:
        fake.on_send = fake.wait
        binary = await relay.binary()
        wake(binary)
        await relay.until(lambda: fake.in_flight == 1)
        draining = asyncio.create_task(relay.drain())
        assert await binary.closed() == (1001, "shutting down")
        await relay.until(lambda: relay.live == 0)
        await asyncio.sleep(0.05)
        assert not draining.done()
        fake.go.set()
        await asyncio.wait_for(draining, 5)
        assert outcomes(relay) == only(sent=1)


@pytest.mark.parametrize("endpoint", ["on_send", "on_token"])
async def test_sends_that_hang_end_with_the_drain(endpoint: str) -> None:
    async with google() as fake, pushing(fake, intervals={"drain": 0.2}) as relay:
        setattr(fake, endpoint, fake.wait)
        for number in range(3):
            wake(await relay.binary(f"s{number}"))
        await relay.until(lambda: relay.relay.waker.in_flight == 3)
        await relay.until(lambda: fake.calls)
        await relay.close_clients()
        started = asyncio.get_running_loop().time()
        await relay.drain()
        assert 0.2 - CLOCK_STEP < asyncio.get_running_loop().time() - started < 2
        await relay.relay.stop()
        assert asyncio.get_running_loop().time() - started < 2
        assert (outcomes(relay), relay.relay.waker.in_flight) == (only(send_failed=3), 0)
        assert "err=SHUTDOWN" in relay.log_of(FAILED)[0]


async def test_server_ids_that_ask_no_more_are_forgotten() -> None:
    intervals, limits = {"bucket_sweep": 0.02}, {"push_refill": 0.01}
    async with google() as fake, pushing(fake, intervals=intervals, limits=limits) as relay:
        wake(await relay.binary())
        await ended(relay, 1)
        await relay.until(lambda: not len(relay.relay.waker._buckets))


async def test_a_fault_of_our_own_is_one_failed_send(monkeypatch: pytest.MonkeyPatch) -> None:
    async with google() as fake, pushing(fake) as relay:

        async def broken(_: object) -> None:
            raise RuntimeError(f"{DEVICE} is not what was expected")

        monkeypatch.setattr(relay.relay.waker._sender, "send", broken)
        wake(await relay.binary())
        assert await ended(relay, 1) == only(send_failed=1)
        assert reason(relay) == "RuntimeError"


async def test_without_push_there_is_no_family() -> None:
    async with running_relay() as relay:
        binary = await relay.binary()
        wake(binary)
        await relay.until(lambda: relay.log_of(DROPPED))
        assert 'err="push is off"' in relay.log_of(DROPPED)[0]
        assert not [name for name, _ in relay.samples() if "push" in name]
        assert DEVICE not in "".join(relay.lines)
