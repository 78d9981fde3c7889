"""Records of every type and length, alerts, and close_notify, each at an odd moment.

A record that may not be there ends its connection, and that one alone.
"""

from collections.abc import Callable

import pytest

from tests.support.certificates import local_certificate
from tests.support.hurting import hurt_relay
from tests.support.peer import client_frame, open_http
from tests.support.record_client import SIDES, VERSIONS, join
from tests.support.record_keys import (
    ALERT,
    APPLICATION,
    CHANGE_CIPHER,
    HANDSHAKE,
    LEGACY_VERSION,
    record,
)
from tests.support.record_session import (
    CLOSE_NOTIFY,
    FATAL,
    LARGEST,
    NO_RENEGOTIATION,
    WARNING,
    Session,
    session,
)
from tests.support.tls_scene import (
    MANY_PEERS_MARGIN,
    Case,
    Fate,
    conn_id_of,
    ends,
    run_cases,
    stop_phone,
)

TYPES = (CHANGE_CIPHER, ALERT, HANDSHAKE, APPLICATION, 24, 0, 255)
LENGTHS = (0, 1, 2, 3, 4, 5, LARGEST - 1, LARGEST, LARGEST + 1)
INTERNAL_ERROR, HANDSHAKE_FAILURE, USER_CANCELED, UNKNOWN = 80, 40, 90, 255
DESCRIPTIONS = (10, 20, INTERNAL_ERROR, USER_CANCELED, NO_RENEGOTIATION, 112, UNKNOWN)
CLOSING = {"close": 5.0}
PONG_FRAME = client_frame(b"", 0xA)

UNBOUNDED = {"useless_frames": 1_000_000}
"""Control frames are sent in masses here, to see whether TLS brings them whole."""


def content_of(kind: int, length: int) -> bytes:
    """What such a record contains; of application data it is the beginning of pongs."""
    if kind == ALERT:
        return bytes([FATAL, INTERNAL_ERROR]).ljust(length, b"\0")[:length]
    if kind == APPLICATION:
        return (PONG_FRAME * LARGEST)[:length]
    return bytes(length)


def record_cases(version: str) -> list[Case]:
    """Each type, protected as it ought to be; in TLS 1.3 also on the outside alone."""
    cases = [record_case(version, kind, length, None) for kind in TYPES for length in LENGTHS]
    if version == "1.3":
        wrong = [kind for kind in TYPES if kind != APPLICATION]
        cases += [record_case(version, APPLICATION, n, kind) for kind in wrong for n in LENGTHS]
    return cases


def record_case(version: str, kind: int, length: int, outer: int | None) -> Case:
    def pieces(tls: Session) -> list[bytes]:
        made = [tls.record(kind, content_of(kind, length), outer=outer)]
        if kind == APPLICATION:
            made.append(tls.application(PONG_FRAME[length % len(PONG_FRAME) :]))
        return made

    fine = (kind == APPLICATION and length <= LARGEST and outer is None) or (
        # Too little to be a message; TLS 1.3 forbids records with nothing (RFC 8446 §5.1).
        kind == HANDSHAKE and length < 4 and (length > 0 or version == "1.2")
    )
    name = f"type {kind}, outside {outer}, {length} bytes"
    return Case(name, pieces, Fate.GOES_ON if fine else Fate.FAILS)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("version", VERSIONS)
async def test_records_of_every_type(version: str, side: str) -> None:
    cases = record_cases(version)
    async with hurt_relay(
        CLOSING, UNBOUNDED, margin=MANY_PEERS_MARGIN, tls=local_certificate()
    ) as relay:
        await run_cases(relay, side, version, cases)


# -- alerts ----------------------------------------------------------------------------------------


def alert_cases(version: str) -> list[Case]:
    return [
        alert_case(version, level, description)
        for level in (0, WARNING, FATAL, 3)
        for description in DESCRIPTIONS
    ] + [
        Case("four warnings", warnings(4), Fate.GOES_ON),
        Case("five warnings", warnings(5), Fate.FAILS),
        Case("an alert in two records", in_two_records, Fate.FAILS),
        Case("two alerts in a record", two_at_once, Fate.FAILS),
    ]


def alert_case(version: str, level: int, description: int) -> Case:
    if version == "1.3":  # the description alone counts (RFC 8446 §6)
        goes_on = description == USER_CANCELED
    else:
        goes_on = level == WARNING and description != NO_RENEGOTIATION
    return Case(
        f"alert {level}, {description}",
        lambda tls: [tls.alert(level, description)],
        Fate.GOES_ON if goes_on else Fate.FAILS,
    )


def warnings(count: int) -> Callable[[Session], list[bytes]]:
    """OpenSSL takes four in a row."""
    return lambda tls: [tls.alert(WARNING, USER_CANCELED) for _ in range(count)]


def in_two_records(tls: Session) -> list[bytes]:
    return [tls.record(ALERT, bytes([part])) for part in (WARNING, USER_CANCELED)]


def two_at_once(tls: Session) -> list[bytes]:
    return [tls.record(ALERT, bytes([WARNING, USER_CANCELED]) * 2)]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("version", VERSIONS)
async def test_alerts(version: str, side: str) -> None:
    async with hurt_relay(CLOSING, margin=MANY_PEERS_MARGIN, tls=local_certificate()) as relay:
        await run_cases(relay, side, version, alert_cases(version))


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_alert_in_the_middle_of_a_frame(version: str) -> None:
    """A warning changes nothing; of a fatal one's connection only whole frames were sent."""
    async with hurt_relay(CLOSING, tls=local_certificate()) as relay:
        binary, phone = await relay.binary(), await join(relay, "phone", version, "s1")
        conn_id = await conn_id_of(binary, phone)
        frame = client_frame(b'"whole"')
        tls = phone.tls
        first, second = tls.application(frame[:7]), tls.alert(WARNING, USER_CANCELED)
        phone.send_raw(first + second + tls.application(frame[7:]))
        assert await binary.json() == {"conn_id": conn_id, "frame": "whole"}
        last = tls.application(frame + frame[:7]) + tls.alert(FATAL, INTERNAL_ERROR)
        phone.send_raw(last + tls.application(frame[7:] + frame))
        assert await binary.json() == {"conn_id": conn_id, "frame": "whole"}
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        await phone.hung_up()
        assert ends(relay, "phone")[Fate.FAILS] == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_alert_in_the_middle_of_a_handshake_message(version: str) -> None:
    async with hurt_relay(CLOSING, tls=local_certificate()) as relay:
        binary, phone = await relay.binary(), await join(relay, "phone", version, "s1")
        conn_id = await conn_id_of(binary, phone)
        await stop_phone(relay, binary, phone, conn_id, version)
        phone.send_raw(phone.tls.alert(FATAL, INTERNAL_ERROR))
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        await phone.hung_up()
        assert not phone.tls.plain
        assert relay.buffered == 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_alerts_before_and_within_the_handshake(version: str) -> None:
    """None of them becomes a WebSocket, and none touches another connection."""
    async with hurt_relay(CLOSING, tls=local_certificate()) as relay:
        alert = record(ALERT, bytes([FATAL, HANDSHAKE_FAILURE]))
        hello = session(version).begin()
        middle = hello[:60]
        broken = record(APPLICATION, b"\0" * 40)
        for said in (alert, hello + alert, middle + alert * 40, hello + broken, hello + hello):
            client = relay.own(await open_http(relay.port))
            client.send(said)
            while await client.reader.read(65536):
                pass
        await relay.until(lambda: relay.pending == 0)


# -- close_notify ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_close_notify_in_the_middle_of_a_frame(version: str) -> None:
    """What was whole before it counts, and nothing behind it."""
    async with hurt_relay(CLOSING, tls=local_certificate()) as relay:
        binary, phone = await relay.binary(), await join(relay, "phone", version, "s1")
        conn_id = await conn_id_of(binary, phone)
        frame, tls = client_frame(b'"whole"'), phone.tls
        said = tls.application(frame + frame[:7]) + tls.alert(WARNING, CLOSE_NOTIFY)
        phone.send_raw(said + tls.application(frame[7:] + frame))
        assert await binary.json() == {"conn_id": conn_id, "frame": "whole"}
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        await phone.hung_up()
        assert phone.tls.alerts == [(WARNING, CLOSE_NOTIFY)]
        evil, other = await join(relay, "binary", version, "s2"), await relay.phone("s2")
        other_id = await conn_id_of(evil, other)
        envelope = b'{"conn_id":"%b","frame":1}' % other_id.encode()
        frame, tls = client_frame(envelope), evil.tls
        said = tls.application(frame + frame[:20]) + tls.alert(WARNING, CLOSE_NOTIFY)
        evil.send_raw(said + tls.application(frame[20:]))
        assert await other.json() == 1
        assert await other.closed() == (1000, "")


@pytest.mark.parametrize("version", VERSIONS)
async def test_close_notify_in_the_middle_of_a_handshake_message(version: str) -> None:
    async with hurt_relay(CLOSING, tls=local_certificate()) as relay:
        binary, phone = await relay.binary(), await join(relay, "phone", version, "s1")
        conn_id = await conn_id_of(binary, phone)
        await stop_phone(relay, binary, phone, conn_id, version)
        phone.send_raw(phone.tls.alert(WARNING, CLOSE_NOTIFY))
        assert await binary.json() == {"conn_id": conn_id, "close_code": 1001}
        await phone.hung_up()
        assert relay.buffered == 0


# -- bytes that are no record of this connection ---------------------------------------------------


def spoilt(tls: Session) -> bytes:
    made = tls.application(PONG_FRAME)
    return made[:-1] + bytes([made[-1] ^ 1])


def out_of_turn(tls: Session) -> bytes:
    tls.record(APPLICATION, b"lost")
    return tls.record(APPLICATION, PONG_FRAME)


def twice(tls: Session) -> bytes:
    return tls.application(PONG_FRAME) * 2


BROKEN = {
    "spoilt": spoilt,
    "one is missing": out_of_turn,
    "the same twice": twice,
    "of no key": lambda tls: record(APPLICATION, bytes(60)),
    "too short to be one": lambda tls: record(APPLICATION, b"\0"),
    "of no length": lambda tls: record(APPLICATION, b""),
    "in clear text": lambda tls: record(HANDSHAKE, b"\1\0\0\0"),
    "too long": lambda tls: bytes([APPLICATION]) + LEGACY_VERSION + b"\xff\xff" + bytes(70_000),
    "another version": lambda tls: bytes([APPLICATION]) + b"\2\0\0\x20" + bytes(32),
    "HTTP": lambda tls: b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_no_record_of_this_connection(version: str, side: str) -> None:
    """Behind a record that is one, in the same read and in the next."""

    def behind(how: str, *, together: bool) -> Case:
        def pieces(tls: Session) -> list[bytes]:
            both = [tls.application(PONG_FRAME), BROKEN[how](tls)]
            return [b"".join(both)] if together else both

        return Case(how, pieces, Fate.FAILS)

    cases = [behind(how, together=together) for how in BROKEN for together in (True, False)]
    async with hurt_relay(CLOSING, tls=local_certificate()) as relay:
        await run_cases(relay, side, version, cases)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_record_byte_by_byte_is_a_record(version: str) -> None:
    async with hurt_relay(CLOSING, tls=local_certificate()) as relay:
        binary, phone = await relay.binary(), await join(relay, "phone", version, "s1")
        conn_id = await conn_id_of(binary, phone)
        said = phone.tls.application(client_frame(b'"slowly"'))
        await phone.send_slowly(said[at : at + 1] for at in range(len(said)))
        assert await binary.json() == {"conn_id": conn_id, "frame": "slowly"}
