"""What a relay is like when nobody says otherwise: the numbers of the protocol's tables."""

import pytest

from fastrelay.config.settings import Address, Intervals, Limits, Settings

KIB, MIB = 1024, 1024 * 1024


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [
        ("head", 5),
        ("close", 5),
        ("ping", 30),
        ("pong", 30),
        ("message", 30),
        ("write", 10),
        ("takeover_probe", 10),
        ("grace", 30),
        ("proxy_header", 5),
        ("drain", 10),
        ("bucket_sweep", 300),
        ("push_call", 10),
    ],
)
def test_intervals(interval: str, seconds: float) -> None:
    assert getattr(Intervals(), interval) == seconds


def test_no_timer_is_later_than_it_may_be() -> None:
    assert Intervals().tick <= 0.25


@pytest.mark.parametrize(
    ("limit", "number"),
    [
        ("head_bytes", 16 * KIB),
        ("message_bytes", 256 * KIB),
        ("phones", 16),
        ("upgrade_burst", 20),
        ("upgrade_refill", 6),
        ("connections_per_ip", None),
        ("connections_per_address", 1000),
        ("plain_burst", 100),
        ("plain_refill", 1 / 20),
        ("phone_backlog_bytes", 4 * MIB),
        ("held_bytes", 256 * MIB),
        ("push_burst", 6),
        ("push_refill", 10),
        ("push_in_flight", 32),
    ],
)
def test_limits(limit: str, number: float | None) -> None:
    assert getattr(Limits(), limit) == number


@pytest.mark.parametrize(
    ("connections", "given", "cap"),
    [(10_000, None, 1000), (640, None, 64), (20, None, 64), (10_000, 0, 0), (10_000, 7, 7)],
)
def test_the_cap_of_an_address(connections: int, given: int | None, cap: int) -> None:
    limits = Limits(connections=connections, connections_per_ip=given)
    assert limits.connections_per_address == cap


def test_nobody_is_believed_and_nothing_is_pushed() -> None:
    settings = Settings(listen=Address("127.0.0.1", 1))
    assert (settings.trusted_proxies, settings.proxy_headers, settings.push) == (None, None, None)
