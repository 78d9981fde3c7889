"""A push endpoint that means harm: it costs its own call, and nothing of the event loop."""

import asyncio
import gzip
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fastrelay.net.outgoing.allowance import Allowance
from fastrelay.net.outgoing.tls_stream import TlsStream
from fastrelay.push.https import MAX_CALL_BYTES
from tests.support.google import google, server_tls
from tests.support.hostile_https import (
    CHUNKED,
    ENDLESS,
    OK,
    Sender,
    dribble,
    endless,
    hostile_server,
    whole,
)
from tests.support.pushing import ended, only, pushing, reason, wake

KERNEL_BYTES = 8 * 1024 * 1024
"""What the buffers of two sockets may hold of an answer that is read no further."""


async def outcome_of(answer: Callable[[Sender], None], **intervals: float) -> tuple[Any, str, int]:
    """What became of one wake, why, and how much the endpoint could send; a pair talks beside."""
    with hostile_server(server_tls(), answer) as server:
        push = {"endpoint": server.url}
        async with google() as fake, pushing(fake, push=push, intervals=intervals) as relay:
            binary, phone = await relay.binary(), await relay.phone()
            wake(binary)
            for number in range(50):
                phone.send_text(str(number))
                assert (await binary.json())["frame"] == number
            result = await ended(relay, 1)
            why = "" if result == only(sent=1) else reason(relay)
            assert await asyncio.to_thread(server.ended.wait, 10)
        assert server.requests == 1
        return result, why, server.sent


@pytest.mark.parametrize("name", list(ENDLESS))
async def test_an_endless_answer_is_read_to_the_limit_and_no_further(name: str) -> None:
    result, why, sent = await outcome_of(endless(name))
    assert (result, why) == (only(send_failed=1), "CALL_FAILED")
    assert sent <= MAX_CALL_BYTES + KERNEL_BYTES


async def test_a_byte_now_and_then_does_not_prolong_a_call() -> None:
    result, why, _ = await outcome_of(dribble(0.02), push_call=0.5)
    assert (result, why) == (only(send_failed=1), "TIMEOUT")


async def test_a_gzip_bomb_is_not_unpacked() -> None:
    packed = gzip.compress(b"\0" * 4_000_000)
    head = OK.replace(b"200 OK", b"404 No") + b"Content-Encoding: gzip\r\n"
    answer = whole(head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed)
    result, why, _ = await outcome_of(answer)
    assert (result, why) == (only(send_failed=1), "HTTP 404")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 100,
        OK,
        OK + b"Content-Length: 5\r\n\r\n1234",
        CHUNKED + b"5\r\n1234",
        CHUNKED + b"-1\r\nabc",
        CHUNKED + b"x\r\nabc",
        OK + b"a: b\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none_or_breaks_off(answer: bytes) -> None:
    result, why, _ = await outcome_of(whole(answer))
    assert (result, why) == (only(send_failed=1), "CALL_FAILED")


async def test_all_that_endpoints_send_is_received_in_threads_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, receive = set[int](), TlsStream._receive

    def recorded(stream: TlsStream) -> None:
        threads.add(threading.get_ident())
        receive(stream)

    monkeypatch.setattr(TlsStream, "_receive", recorded)
    async with google() as fake, pushing(fake) as relay:
        wake(await relay.binary())
        assert await ended(relay, 1) == only(sent=1)
    assert threads
    assert threading.get_ident() not in threads


def test_one_thread_at_a_time_works_on_an_answer() -> None:
    """32 hostile answers at once compete with the event loop like one."""
    at_work: list[int] = []
    most: list[int] = []

    def work() -> None:
        allowance = Allowance(20, 0)
        with allowance.turn():
            for _ in range(20):
                at_work.append(1)
                most.append(len(at_work))
                threading.Event().wait(0.0005)
                at_work.pop()
                with allowance.waiting():
                    pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (160, 1)


async def test_connections_are_used_again_unless_the_endpoint_hung_up() -> None:
    good = OK + b"Content-Length: 2\r\n\r\n{}"

    def twice(sender: Sender) -> None:
        sender.send(good)
        sender.receive()
        sender.send(good)

    with hostile_server(server_tls(), twice) as server:
        async with google() as fake, pushing(fake, push={"endpoint": server.url}) as relay:
            binary = await relay.binary()
            for count in (1, 2, 3, 4):
                wake(binary)
                assert await ended(relay, count) == only(sent=count)
                if count == 2:
                    assert await asyncio.to_thread(server.ended.wait, 10)
        assert server.requests == 2
