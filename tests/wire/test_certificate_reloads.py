"""Reloads of certificate files on request: how many, in which thread, and that peers go on."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastrelay.net.tls.certificates import Certificates
from tests.support.certificates import authority
from tests.support.harness import running_relay


@pytest.fixture
def in_loop(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each reading of certificate files, whether it was in the event loop's thread."""
    found: list[bool] = []
    own = threading.get_ident()
    prepare = Certificates.prepare

    def recorded(self: Certificates, *files: Any) -> Callable[[], None]:
        found.append(threading.get_ident() == own)
        return prepare(self, *files)

    monkeypatch.setattr(Certificates, "prepare", recorded)
    return found


async def test_a_flood_of_reloads_is_one_and_one_more(tmp_path: Path, in_loop: list[bool]) -> None:
    files, intervals = authority().issue(tmp_path), {"certificate_reload": 0.05}
    async with running_relay(tls=files, intervals=intervals) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        assert in_loop == [True]  # at start
        for number in range(100):
            for _ in range(27):
                relay.relay.listeners.reload()
            if number < 10:
                phone.send_text(str(number))
                assert (await binary.json())["frame"] == number
        before = len(in_loop)
        await relay.until(lambda: len(relay.log_of("certificate_installed")) >= before)
        await asyncio.sleep(0.2)
        # One may have begun in its thread without being recorded yet, and one comes after it.
        assert len(in_loop) <= before + 2
        assert not any(in_loop[1:])


async def test_within_the_interval_there_is_one_reload(tmp_path: Path, in_loop: list[bool]) -> None:
    files, intervals = authority().issue(tmp_path), {"certificate_reload": 3600.0}
    async with running_relay(tls=files, intervals=intervals) as relay:
        for _ in range(100):
            relay.relay.listeners.reload()
            await asyncio.sleep(0.001)
        await relay.until(lambda: relay.log_of("certificate_installed"))
        assert in_loop == [True, False]
        assert len(relay.log_of("certificate_installed")) == 1
