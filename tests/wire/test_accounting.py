"""What peers sent is what the relay counts as received; that is what it forwarded or dropped."""

from tests.support.harness import RunningRelay, running_relay
from tests.support.peer import CLOSE, TEXT, Peer, client_frame

UP, DOWN = "phone_to_binary", "binary_to_phone"
REASONS = ("invalid", "no_peer", "backlog_full", "closing")
ROUNDS = 100
LARGE = "x" * 200_000
"""So much that the kernel does not take all rounds' for who reads nothing."""


def dropped(relay: RunningRelay, direction: str) -> dict[str, float]:
    family = "frames_dropped_total"
    return {r: relay.value(family, direction=direction, reason=r) for r in REASONS}


async def conn_id_of(phone: Peer, binary: Peer) -> str:
    phone.send_text("0")
    return str((await binary.json())["conn_id"])


async def data_frames(peer: Peer) -> int:
    """How many text messages come before the close frame, which is answered."""
    count = 0
    while (frame := await peer.frame()).opcode != CLOSE:
        assert frame.opcode == TEXT
        count += 1
    peer.send(client_frame(frame.payload, CLOSE))
    return count


async def test_up_every_frame_is_forwarded_or_has_a_reason() -> None:
    async with running_relay() as relay:
        binary, good, bad = await relay.binary(), await relay.phone(), await relay.phone()
        good.send(client_frame(b'"fine"') * 40)
        bad.send(client_frame(b'"fine"') * 5 + client_frame(b"bad") + client_frame(b"1") * 3)
        assert (await bad.closed())[0] == 1007
        heard = 0
        while heard < 45:
            heard += "frame" in await binary.json()
        await relay.until(lambda: relay.live == 2)
        bad.send(client_frame(b"1") * 2)  # nobody reads these: the connection has ended
        await binary.close()
        await relay.until(lambda: relay.log_of("server_released"))
        good.send(client_frame(b"1") * 7)
        assert await good.closed() == (1000, "")
        assert relay.value("frames_received_total", direction=UP) == 40 + 9 + 7
        assert relay.value("frames_forwarded_total", direction=UP) == heard
        reasons = dropped(relay, UP)
        assert reasons == {"invalid": 1, "no_peer": 7, "backlog_full": 0, "closing": 3}


async def test_down_every_frame_is_forwarded_or_has_a_reason() -> None:
    patient = {"close": 60.0, "write": 60.0}  # what the slow phone has got shall reach it
    async with running_relay(limits={"phone_backlog_bytes": 300_000}, intervals=patient) as relay:
        binary = await relay.binary()
        phones = [await relay.phone() for _ in range(4)]
        quick, slow, led, gone = phones
        ids = {phone: await conn_id_of(phone, binary) for phone in phones}
        await gone.say_goodbye()
        assert (await binary.json())["close_code"] == 1000
        slow.stop_reading()
        for number in range(ROUNDS):
            binary.send_json({"conn_id": ids[quick], "frame": number})
            binary.send_json({"conn_id": ids[slow], "frame": LARGE})
            binary.send_json({"conn_id": ids[gone], "frame": number})
            await binary.writer.drain()
            assert await quick.json() == number
        last = f'{{"conn_id":"{ids[led]}","frame":"last","close_code":4401}}'
        behind = f'{{"conn_id":"{ids[led]}","frame":"too late"}}'
        binary.send(b"".join(client_frame(text.encode()) for text in (last, behind, "[]", "{")))
        assert await data_frames(led) == 1
        slow.read_on()
        reached_slow = await data_frames(slow)
        assert await binary.json() == {"conn_id": ids[slow], "close_code": 1001}
        await relay.until(lambda: dropped(relay, DOWN)["invalid"] == 2)
        assert relay.value("frames_received_total", direction=DOWN) == 3 * ROUNDS + 4
        forwarded = relay.value("frames_forwarded_total", direction=DOWN)
        assert forwarded == ROUNDS + reached_slow + 1
        reasons = dropped(relay, DOWN)
        assert reasons["backlog_full"] > 0
        assert reasons["no_peer"] + reasons["closing"] + reasons["backlog_full"] == (
            ROUNDS + (ROUNDS - reached_slow) + 1
        )
        assert forwarded + sum(reasons.values()) == 3 * ROUNDS + 4
