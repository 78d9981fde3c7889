"""Handshake messages after the handshake that are whole: renegotiation and key updates.

TLS 1.2: OpenSSL refuses a ClientHello with a warning (RFC 5746 §4.5), and the second one ends the
connection. TLS 1.3: a KeyUpdate is answered if the peer asks for it (RFC 8446 §4.6.3).
"""

import itertools
from collections.abc import Callable

import pytest

from fastrelay.net.tls.session import PIECE_BYTES
from tests.support.certificates import local_certificate
from tests.support.harness import RunningRelay
from tests.support.hurting import hurt_relay, resident
from tests.support.record_client import SIDES, join
from tests.support.record_keys import HANDSHAKE
from tests.support.record_session import (
    KEY_UPDATE,
    NO_RENEGOTIATION,
    WARNING,
    Session,
    Session13,
    message,
)
from tests.support.tls_scene import Case, Fate, conn_id_of, ends, run_cases

REFUSAL = (WARNING, NO_RENEGOTIATION)
MANY = 500
OWN_OUTPUT = 128 * 1024
"""Bytes of answers that may wait for a peer that does not read them: the layer allows half."""

FLOOD = 20_000
"""KeyUpdates, each of which asks for an answer of 27 bytes."""

WINDOW = 4096
IN_TIME = {"tls_stall": 1.0, "close": 5.0}
Pieces = Callable[[Session], list[bytes]]


def hellos(*cuts: int, times: int = 1, together: bool = False) -> Pieces:
    """ClientHellos cut there, in records of their own or (``together``) in one."""

    def pieces(tls: Session) -> list[bytes]:
        hello = tls.client_hello()
        bounds = [0, *cuts, len(hello)]
        parts = [hello[a:b] for a, b in itertools.pairwise(bounds)] * times
        return [tls.record(HANDSHAKE, part) for part in ([b"".join(parts)] if together else parts)]

    return pieces


def half_hello(tls: Session) -> list[bytes]:
    return [tls.record(HANDSHAKE, tls.client_hello()[:60])]


RENEGOTIATIONS = [
    Case("one", hellos(), Fate.GOES_ON),
    Case("one in two halves", hellos(60), Fate.GOES_ON),
    Case("one as 3, 1 and the rest", hellos(3, 4), Fate.GOES_ON),
    Case("one that begins byte by byte", hellos(*range(1, 12)), Fate.GOES_ON),
    Case("two", hellos(times=2), Fate.FAILS),
    Case("two in a record", hellos(times=2, together=True), Fate.FAILS),
    Case("two in halves", hellos(60, times=2), Fate.FAILS),
    Case("many", hellos(times=MANY), Fate.FAILS),
    Case("60 bytes", half_hello, Fate.STALLS),
    Case("one and 60 bytes", lambda tls: hellos()(tls) + half_hello(tls), Fate.STALLS),
]


@pytest.mark.parametrize("side", SIDES)
async def test_the_second_renegotiation_is_the_last(side: str) -> None:
    async with hurt_relay(IN_TIME, tls=local_certificate()) as relay:
        await run_cases(relay, side, "1.2", RENEGOTIATIONS)


async def test_each_is_refused_with_a_warning_and_only_one_read_is_looked_at() -> None:
    async with hurt_relay(tls=local_certificate()) as relay:
        binary, phone = await relay.binary(), await join(relay, "phone", "1.2", "s1")
        conn_id = await conn_id_of(binary, phone)
        phone.send_record(HANDSHAKE, phone.tls.client_hello())
        await phone.heard(lambda tls: tls.alerts)
        phone.send_text("1")
        assert (await binary.json())["frame"] == 1
        again = [phone.tls.record(HANDSHAKE, phone.tls.client_hello()) for _ in range(MANY)]
        phone.send_raw(b"".join(again))
        await phone.hung_up()
        assert set(phone.tls.alerts) == {REFUSAL}
        assert len(phone.tls.alerts) <= 1 + PIECE_BYTES // len(again[0])
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        assert ends(relay, "phone")[Fate.FAILS] == 1


def updates(*bodies: bytes, times: int = 1) -> Pieces:
    """KeyUpdates with these bodies; the key changes behind each."""

    def pieces(tls: Session) -> list[bytes]:
        assert isinstance(tls, Session13)
        made = []
        for body in bodies * times:
            made.append(tls.record(HANDSHAKE, message(KEY_UPDATE, body)))
            tls.rotate()
        return [b"".join(made)]

    return pieces


def in_one_record(tls: Session) -> list[bytes]:
    return [tls.record(HANDSHAKE, message(KEY_UPDATE, b"\0") * 2)]


KEY_UPDATES = [
    Case("one", updates(b"\0"), Fate.GOES_ON),
    Case("one that asks", updates(b"\1"), Fate.GOES_ON),
    Case("both in turn", updates(b"\0", b"\1", times=20), Fate.GOES_ON),
    Case("many", updates(b"\0", times=MANY), Fate.GOES_ON),
    Case("many that ask", updates(b"\1", times=MANY), Fate.GOES_ON),
    Case("neither yes nor no", updates(b"\2"), Fate.FAILS),
    Case("no body", updates(b""), Fate.FAILS),
    Case("two bytes", updates(b"\0\0"), Fate.FAILS),
    Case("two in a record", in_one_record, Fate.FAILS),
]


@pytest.mark.parametrize("side", SIDES)
async def test_key_updates(side: str) -> None:
    async with hurt_relay(IN_TIME, tls=local_certificate()) as relay:
        await run_cases(relay, side, "1.3", KEY_UPDATES)


async def test_every_request_for_a_key_update_is_answered_once() -> None:
    async with hurt_relay(tls=local_certificate()) as relay:
        binary, phone = await relay.binary(), await join(relay, "phone", "1.3", "s1")
        conn_id = await conn_id_of(binary, phone)
        for number in range(50):
            phone.send_raw(phone.tls.key_update(request=number % 2 == 0))
            phone.send_text(f"{number}")
            assert (await binary.json())["frame"] == number
            binary.send_json({"conn_id": conn_id, "frame": number})
            assert await phone.json() == number
        assert phone.tls.key_updates == 25


def own_output(relay: RunningRelay) -> int:
    """The most that waits for any peer in this process."""
    return max((connection.unsent for connection in relay.relay.live), default=0)


@pytest.mark.parametrize("side", SIDES)
async def test_answers_that_are_not_read_end_the_connection(side: str) -> None:
    async with hurt_relay({"write": 60.0}, tls=local_certificate()) as relay:
        relay.keep_in_process(WINDOW)
        if side == "phone":
            honest = await relay.binary()
            evil = await join(relay, side, "1.3", "s1", window=WINDOW)
            conn_id = await conn_id_of(honest, evil)
        else:
            evil = await join(relay, side, "1.3", "s1", window=WINDOW)
            honest = await relay.phone()
            await conn_id_of(evil, honest)
        evil.stop_reading()
        before, most, gauge = resident(), 0, 0
        for _ in range(FLOOD // 100):
            flood = b"".join(evil.tls.key_update(request=True) for _ in range(100))
            await evil.send_slowly([flood])
            most, gauge = max(most, own_output(relay)), max(gauge, relay.buffered)
            if ends(relay, side)[Fate.FAILS]:
                break
        await relay.until(lambda: ends(relay, side)[Fate.FAILS] == 1)
        assert 0 < most < OWN_OUTPUT
        assert resident() - before < 8 * 1024 * 1024
        if side == "phone":
            assert 0 < gauge < OWN_OUTPUT
            assert await honest.json() == {"conn_id": conn_id, "close_code": 1001}
        else:
            assert await honest.closed() == (1000, "")
        assert relay.buffered == 0
