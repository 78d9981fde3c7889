"""Wakes of all workers are sent by the supervisor, whose limits hold for all of them together."""

from tests.support.google import DEVICE, google, secrets
from tests.support.pushing import DROPPED, only, outcomes, wake
from tests.support.workers import binaries_of_all, workers


async def test_wakes_of_every_worker_share_one_token_and_one_limit() -> None:
    async with google() as fake, workers(push=fake.push(), limits={"push_burst": 2}) as relay:
        assert outcomes(relay) == only()
        binaries = await binaries_of_all(relay, 6)
        count = len(binaries)
        for binary in binaries:
            wake(binary)
        await relay.until(lambda: outcomes(relay) == only(sent=count))
        assert (fake.messages, fake.refused, len(fake.grants)) == ([DEVICE] * count, [], 1)
        for _ in range(2):
            wake(binaries[0])
        wake(binaries[1], platform="apns")
        await relay.until(lambda: outcomes(relay) == only(sent=count + 1, dropped=2))
        assert len(relay.log_of(DROPPED)) == 2
        said = "".join(relay.lines)
        assert not [secret for secret in secrets() if secret in said]


async def test_the_limit_of_wakes_in_flight_is_one_for_all() -> None:
    async with google() as fake, workers(push=fake.push(), limits={"push_in_flight": 3}) as relay:
        fake.on_send = fake.wait
        for number in range(8):
            wake(await relay.binary(f"id{number}"))
        await relay.until(lambda: outcomes(relay) == only(dropped=5))
        fake.go.set()
        await relay.until(lambda: outcomes(relay) == only(dropped=5, sent=3))
