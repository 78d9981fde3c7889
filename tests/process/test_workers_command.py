"""The whole command with workers: how many there are, and two of them on one port."""

from pathlib import Path

import pytest

from fastrelay.config import from_flags
from fastrelay.config.settings import Settings
from fastrelay.config.sources import read_options
from tests.support.command import refused, refused_process
from tests.support.peer import Peer
from tests.test_cli import running_command

ON_ONE_CPU = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from fastrelay.__main__ import main
sys.exit(main())
"""

EARLY_DEATHS = """
import sys
from fastrelay.process.workers import member
member._MODULE = "fastrelay.no_such_module"
from fastrelay.__main__ import main
sys.exit(main())
"""
"""No worker of this relay lives until it is ready."""


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, and that have not ended."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("first", ["1", "2"])
async def test_a_second_relay_is_refused_and_the_first_serves_on(first: str) -> None:
    async with running_command("--workers", first) as command:
        async with await command.binary() as binary, await command.phone() as phone:
            listen = ("--insecure-listen", f"127.0.0.1:{command.port}", "--metrics-listen", "")
            for second in ("1", "3"):
                refuse = refused_process if (first, second) == ("2", "3") else refused
                what, fix = refuse(*listen, "--workers", second)
                assert what == f"{' '.join(listen[:2])}: cannot listen: Address already in use"
                assert fix.endswith("with --insecure-listen")
                await converse(binary, phone)
                async with await command.phone() as another:
                    await converse(binary, another)
                    await another.say_goodbye()
                assert (await binary.json())["close_code"] == 1000


async def converse(binary: Peer, phone: Peer) -> None:
    """A frame of the phone reaches the binary."""
    phone.send_text("1")
    assert (await binary.json())["frame"] == 1


def settings_of(*arguments: str) -> Settings:
    options = read_options(("--insecure-listen", "127.0.0.1:8080", *arguments), {})
    return from_flags.read_settings(options, {})


def test_by_default_there_is_a_worker_for_each_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_flags, "usable_cpus", lambda: 5)
    assert settings_of().workers == settings_of("--workers", "auto").workers == 5
    assert settings_of("--workers", "1").workers == 1
    assert not settings_of().supervised
    monkeypatch.setattr(from_flags, "usable_cpus", lambda: 1)
    assert settings_of().workers == 1


@pytest.mark.parametrize(
    ("flags", "workers"), [((), 0), (("--supervised",), 1)], ids=["auto", "supervised"]
)
async def test_on_one_cpu_there_is_one_process_unless_it_is_to_be_supervised(
    flags: tuple[str, ...], workers: int
) -> None:
    async with running_command(*flags, program=("-c", ON_ONE_CPU)) as command:
        assert " workers=1 " in command.said
        assert len(children_of(command.process.pid)) == workers
        async with await command.binary() as binary, await command.phone() as phone:
            await converse(binary, phone)


async def test_workers_that_die_before_they_are_ready_end_the_relay() -> None:
    async with running_command("--workers", "2", program=("-c", EARLY_DEATHS)) as command:
        code, said = await command.end(40.0)
    assert code == 1, said
    said = command.said + said
    assert said.count("msg=worker_died") == 5
    assert said.count("msg=workers_die_before_ready") == 1
