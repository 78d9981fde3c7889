"""What the log says of the end of each wake: which device, how long, which message."""

import re
from typing import Any

import pytest
from aiohttp import web

from tests.support.google import DEVICE, PROJECT, answer, google, secrets
from tests.support.pushing import (
    DROPPED,
    FAILED,
    SENT,
    ended,
    fields,
    only,
    outcomes,
    pushing,
    wake,
)
from tests.support.running import RunningRelay
from tests.support.workers import binaries_of_all, workers

FINGERPRINT = re.compile("[0-9a-f]{16}")


def lines(relay: RunningRelay, event: str) -> list[dict[str, str]]:
    """What the lines of an event say; each has a binary, a fingerprint and a duration."""
    found = [fields(line) for line in relay.log_of(event)]
    for line in found:
        assert line.pop("binary_conn_id").startswith(f"server-{line['server_id']}-")
        assert FINGERPRINT.fullmatch(line["token_fp"])
    return found


async def test_a_wake_that_was_sent() -> None:
    async with google() as fake, pushing(fake) as relay:
        wake(await relay.binary())
        await ended(relay, 1)
        (line,) = lines(relay, SENT)
        assert 0 <= float(line.pop("duration")) < 60
        assert line.pop("token_fp") not in DEVICE
        assert line == {"server_id": "s1", "fcm_message_id": "1"}
        (whole,) = relay.log_of(SENT)
        assert " level=INFO " in whole


async def test_equal_tokens_have_equal_fingerprints_and_other_relays_others() -> None:
    seen = []
    for _ in range(2):
        async with google() as fake, pushing(fake, limits={"push_burst": 1}) as relay:
            for server_id, token in (("s1", DEVICE), ("s2", DEVICE), ("s3", f"{DEVICE}x")):
                wake(await relay.binary(server_id), token)
            await ended(relay, 3)
            prints = {line["server_id"]: line["token_fp"] for line in lines(relay, SENT)}
            assert prints["s1"] == prints["s2"] != prints["s3"]
            seen.append(prints["s1"])
    assert len(set(seen)) == 2


async def test_a_wake_that_failed_and_one_over_a_limit() -> None:
    async with google() as fake, pushing(fake, limits={"push_burst": 1}) as relay:
        fake.on_send = answer(404, "UNREGISTERED", "NOT_FOUND")
        binary = await relay.binary()
        wake(binary)
        wake(binary)
        assert await ended(relay, 2) == only(unregistered=1, dropped=1)
        (failed,), (dropped,) = lines(relay, FAILED), lines(relay, DROPPED)
        assert failed["token_fp"] == dropped["token_fp"]
        assert 0 <= float(failed.pop("duration")) < 60
        assert failed["err"].startswith("HTTP 404")
        assert failed.keys() == {"server_id", "token_fp", "err"}
        assert dropped.pop("err") == "too many wakes for server-id"
        assert dropped.keys() == {"server_id", "token_fp"}
        assert not relay.log_of(SENT)


@pytest.mark.parametrize(
    "name",
    [
        f"projects/{PROJECT}/messages/",
        f"projects/{PROJECT}/messages/{DEVICE}",
        f"projects/{PROJECT}/messages/{DEVICE[3:40]}",
        f"projects/{PROJECT}/messages/x{DEVICE}",
        "a b",
        "\x1b[31m",
        "x" * 129,
        7,
        None,
    ],
)
async def test_a_name_that_is_none_or_says_back_what_was_sent(name: Any) -> None:
    async def reply(request: web.Request) -> web.Response:
        return web.json_response({"name": name})

    async with google() as fake, pushing(fake) as relay:
        fake.on_send = reply
        wake(await relay.binary())
        assert await ended(relay, 1) == only(sent=1)
        (line,) = lines(relay, SENT)
        assert line["fcm_message_id"] == ""


async def test_a_name_as_google_gives_them() -> None:
    async def reply(request: web.Request) -> web.Response:
        return web.json_response({"name": f"projects/{PROJECT}/messages/0:1500415314455276%31bd1c"})

    async with google() as fake, pushing(fake) as relay:
        fake.on_send = reply
        wake(await relay.binary())
        await ended(relay, 1)
        (line,) = lines(relay, SENT)
        assert line["fcm_message_id"] == "0:1500415314455276%31bd1c"


async def test_all_workers_have_the_same_fingerprints() -> None:
    async with google() as fake, workers(push=fake.push(), limits={"push_burst": 1}) as relay:
        binaries = await binaries_of_all(relay, 2)
        count = len(binaries)
        for binary in binaries:
            wake(binary)
            wake(binary)
        await relay.until(lambda: outcomes(relay) == only(sent=count, dropped=count))
        sent, dropped = lines(relay, SENT), lines(relay, DROPPED)
        assert len(sent) == len(dropped) == count
        assert len({line["token_fp"] for line in (*sent, *dropped)}) == 1
        assert not [secret for secret in secrets() if secret in "".join(relay.lines)]
