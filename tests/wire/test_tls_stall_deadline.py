"""The deadline for the rest of a TLS handshake message, and which peers it is not for.

It is for a peer that could send the rest and does not.
"""

import asyncio
from collections import defaultdict

from tests.support.certificates import local_certificate
from tests.support.harness import RunningRelay, running_relay
from tests.support.record_client import join
from tests.support.tls_scene import complete, conn_id_of, inside_a_message, stop_phone

WINDOW = 4096
FRAME = "f" * 10_000


async def test_a_phone_that_is_not_read_meanwhile_is_not_late() -> None:
    """Its binary takes nothing, so the rest of its message waits in the relay's socket."""
    intervals = {"tls_stall": 0.3}
    async with running_relay(tls=local_certificate(), intervals=intervals) as relay:
        relay.keep_in_process(WINDOW)
        binary, phone = await relay.binary(window=WINDOW), await join(relay, "phone", "1.3", "s1")
        conn_id = await conn_id_of(binary, phone)
        sibling = await relay.phone()
        sibling_id = await conn_id_of(binary, sibling)
        rest = await stop_phone(relay, binary, phone, conn_id, "1.3")
        binary.stop_reading()
        for _ in range(100):
            sibling.send_json(FRAME)
        await relay.until(lambda: relay.is_full("s1"))
        complete(phone, "1.3", rest)
        phone.send_text('"in time"')
        await asyncio.sleep(0.5)
        binary.read_on()
        frames = defaultdict(list)
        for _ in range(101):  # which phone is read first is left to the loop
            envelope = await binary.json()
            frames[envelope["conn_id"]].append(envelope["frame"])
        assert frames == {sibling_id: [FRAME] * 100, conn_id: ["in time"]}


def stopped(relay: RunningRelay) -> bool:
    """Whether the evil phone's connection has ended in whatever way."""
    closed = [value for (name, _), value in relay.samples().items() if "closed_total" in name]
    return sum(closed) > 0


async def test_half_messages_do_not_put_off_the_write_deadline() -> None:
    """A phone that reads nothing is always inside a message when the deadline comes."""
    intervals = {"write": 0.2, "tls_stall": 1.0}
    async with running_relay(tls=local_certificate(), intervals=intervals) as relay:
        relay.keep_in_process(WINDOW)
        binary, evil = await relay.binary(), await join(relay, "phone", "1.3", "s1", window=WINDOW)
        conn_id = await conn_id_of(binary, evil)
        evil.stop_reading()
        for _ in range(50):
            binary.send_json({"conn_id": conn_id, "frame": FRAME})
        await relay.until(lambda: relay.buffered > 100_000)
        for _ in range(20):
            if stopped(relay):
                break
            rest = await inside_a_message(evil, "1.3")
            await asyncio.sleep(0.1)
            complete(evil, "1.3", rest)
            await asyncio.sleep(0.001)
        assert stopped(relay)
