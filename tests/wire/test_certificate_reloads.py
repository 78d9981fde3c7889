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
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the thread of each reading of certificate files."""
    names: list[str] = []
    prepare = Certificates.prepare

    def recorded(self: Certificates, *files: Any) -> Callable[[], None]:
        names.append(threading.current_thread().name)
        return prepare(self, *files)

    monkeypatch.setattr(Certificates, "prepare", recorded)
    return names


async def test_a_flood_of_reloads_is_one_and_one_more(tmp_path: Path, threads: list[str]) -> None:
    files, intervals = authority().issue(tmp_path), {"certificate_reload": 0.05}
    async with running_relay(tls=files, intervals=intervals) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        assert threads == ["MainThread"]  # at start
        for number in range(100):
            for _ in range(27):
                relay.relay.listeners.reload()
            if number < 10:
                phone.send_text(str(number))
                assert (await binary.json())["frame"] == number
        before = len(threads)
        await relay.until(lambda: len(relay.log_of("certificate_installed")) >= before)
        await asyncio.sleep(0.2)
        assert len(threads) <= before + 1
        assert set(threads[1:]) == {"certificate"}


async def test_within_the_interval_there_is_one_reload(tmp_path: Path, threads: list[str]) -> None:
    files, intervals = authority().issue(tmp_path), {"certificate_reload": 3600.0}
    async with running_relay(tls=files, intervals=intervals) as relay:
        for _ in range(100):
            relay.relay.listeners.reload()
            await asyncio.sleep(0.001)
        await relay.until(lambda: relay.log_of("certificate_installed"))
        assert threads == ["MainThread", "certificate"]
        assert len(relay.log_of("certificate_installed")) == 1
