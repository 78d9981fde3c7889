"""The hostile loads do what they say, and what honest peers and the relay show is told."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from bench.hostile.attackers import Strength, flood_for
from bench.hostile.floods import FLOODS, MESSAGE_BYTES
from bench.hostile.loads import LOADS
from bench.hostile.peer import Peer, dial
from bench.hostile.report import markdown, table
from bench.hostile.run import measure_load
from bench.support.generator import Failed
from bench.support.relay import OURS, running
from tests.support.command import started
from tests.support.process import marked

SERVER_CLOSES = b"\x88\x10\x03\xf0too many pings"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = (sys.executable, "-m", "bench", "hostile", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def rows(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    """The figures of a short run by command."""
    figures = tmp_path / "figures.json"
    short = ("--seconds", "0.5", "--attackers", "2", "--scale", "0.002")
    done = run(*arguments, *short, "--json", str(figures))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    found: list[dict[str, Any]] = json.loads(figures.read_text())["rows"]
    return found


def unmasked(data: bytes) -> list[bytes]:
    """The payloads of whole masked frames."""
    payloads, at = [], 0
    while at < len(data):
        size, head = data[at + 1] & 0x7F, 2
        if size > 125:
            head += 2 if size == 126 else 8
            size = int.from_bytes(data[at + 2 : at + head])
        key, body = data[at + head : at + head + 4], data[at + head + 4 : at + head + 4 + size]
        assert len(body) == size
        stream = (key * (size // 4 + 1))[:size]
        payloads.append((int.from_bytes(body) ^ int.from_bytes(stream)).to_bytes(size))
        at += head + 4 + size
    return payloads


def test_all_loads_are_listed() -> None:
    listed = run("--list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(LOADS)
    assert {name for load in LOADS.values() for name in load.floods} == set(FLOODS)


@pytest.mark.parametrize("arguments", [("no-such-load",), ("--url", "ws://192.0.2.1:80")])
def test_what_is_not_there_and_what_is_not_loopback_is_refused(arguments: tuple[str, ...]) -> None:
    refused = run(*arguments)
    assert refused.returncode == 2
    assert "error:" in refused.stderr


@pytest.mark.parametrize("name", ["unknown", "directives", "tophone", "utf8", "deep", "large"])
def test_what_is_sent_is_what_the_relay_must_take(name: str) -> None:
    """Messages that end a connection at once would be no flood."""
    payloads = set(unmasked(FLOODS[name].make(b"client-home-00112233").again))
    assert len(payloads) == 1
    (payload,) = payloads
    assert json.loads(payload.decode())
    assert len(payload) <= MESSAGE_BYTES


def test_a_half_message_lacks_one_byte() -> None:
    first, again = FLOODS["half"].make(b"")
    assert again == b""
    (payload,) = unmasked(first + b"\0")
    assert len(payload) == MESSAGE_BYTES


EACH_WAY = ("directives", "unread", "healthz", "connects-4000", "half")
"""Loads that between them take every way through the attackers."""


@pytest.mark.slow
def test_loads_are_measured_beside_honest_peers(tmp_path: Path) -> None:
    found = {row["load"]: row for row in rows(tmp_path, *EACH_WAY)}
    assert tuple(found) == EACH_WAY
    for name, row in found.items():
        assert (row["wrong"], row["pairs_cut"]) == (0, 0), row
        assert row["round_trips"] >= 20, row
        assert 0 < row["p50"] <= row["p99"] <= row["longest"], row
        assert row["upgrades_tried"] == 1, row
        assert row["cores"] > 0, row
        assert 0 < row["resident_before"] <= row["resident_peak"], row
        assert row["attack"]["connected"] == row["attack"]["wanted"], row
        assert bool(row["attack"]["sent"]) == bool(LOADS[name].floods), row
    assert found["healthz"]["attack"]["ended"]["eof"] > 2  # a hundred requests, and it comes back
    half = found["half"]
    assert half["attack"]["connected"] == 20
    assert half["resident_peak"] - half["resident_before"] > 15 * MESSAGE_BYTES
    assert found["connects-4000"]["attack"]["connects"] > 3


@pytest.mark.slow
def test_over_tls(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "alternation", "--tls")
    assert row["tls"]
    assert (row["upgrades_served"], row["wrong"], row["pairs_cut"]) == (1, 0, 0)
    assert row["attack"]["sent"] > MESSAGE_BYTES


@pytest.mark.slow
def test_a_relay_that_runs_is_measured_by_its_url(tmp_path: Path) -> None:
    with running() as relay:
        where = ("--url", f"ws://127.0.0.1:{relay.port}")
        (row,) = rows(tmp_path, "bytes", *where)
        assert row["cores"] is None
        (row,) = rows(tmp_path, "bytes", *where, "--pid", str(relay.pid))
        assert row["cores"] > 0


@pytest.mark.slow
def test_a_relay_that_refuses_is_said(tmp_path: Path) -> None:
    """Attackers and honest peers that never got in must not look like a relay that bore them."""
    full = OURS + " --max-connections 4"
    done = run("bytes", "--command", full, "--attackers", "2", "--seconds", "0.2")
    assert done.returncode == 1
    assert "not measured: Refused: 503" in done.stdout


@pytest.mark.slow
def test_attackers_that_are_ended_are_told_by_code_and_come_back_in_bounds() -> None:
    """A message over the limit ends its phone with 1009."""
    strength = Strength(attackers=2, redial_burst=4.0, redial_seconds=60.0)
    with running(OURS + " --max-message-bytes 65536") as relay:
        row = measure_load(relay, False, LOADS["large"], strength, 0.5)
    ended = row["attack"]["ended"]
    codes = {name.split()[0] for name in ended}
    assert codes <= {"1009", "reset", "eof"}, ended
    assert sum(ended.values()) == 2 + 4
    assert row["attack"]["redials"] == 4
    assert row["pairs_cut"] == 0
    told = table([{**row, "label": "2 × large", "load": "large"}])
    assert all(f"{count} × {name}" in told for name, count in ended.items())


def test_a_relay_that_ends_attackers_is_told_from_one_that_hangs_up() -> None:
    for sent, ended in (
        (SERVER_CLOSES, "1008 too many pings"),
        (b"\x81\x01\x88" + SERVER_CLOSES, "1008 too many pings"),
        (b"\x88\x00", "1005"),
        (b"\x81\x02hi", "eof"),
    ):
        assert asyncio.run(how_it_ended(sent)) == ended


async def how_it_ended(sent: bytes) -> str:
    """What a peer says of a server that upgrades, sends this and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + sent)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        peer = await dial(Peer, server.sockets[0].getsockname()[1], "127.0.0.2", None)
        await peer.upgrade(b"GET / HTTP/1.1\r\n\r\n")
        await peer.over.wait()
        return peer.ended


def test_the_page_has_a_row_for_each_load() -> None:
    row = {"label": "half", "load": "half", "failed": "no word"}
    assert markdown([row, row]).count("| half | not measured: no word |") == 2


@pytest.mark.slow
def test_the_limit_of_open_files_bounds_half_messages_and_is_said(tmp_path: Path) -> None:
    limited = f"ulimit -n 1400; exec {sys.executable} -m bench hostile half --seconds 0.3"
    done = subprocess.run(
        ("bash", "-c", limited), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "only 1,400 files may be open" in done.stderr
    assert "150 connections instead of 10,000" in done.stderr


@pytest.mark.slow
def test_floods_for_the_soak_say_how_often_they_dialled() -> None:
    with running() as relay:
        found = flood_for(relay.port, "pings", 0.2, 2)
        samples = relay.scrape()
    accepted = [
        value
        for name, value in samples.items()
        if name.startswith("pyrycode_relay_ws_upgrade_attempts_total") and "accept" in name
    ]
    # Those that send too many useless frames are closed, and dial again.
    assert sum(accepted) == found["answered"][101] >= 4


@pytest.mark.slow
def test_attackers_without_a_relay_are_an_error() -> None:
    with running() as relay:
        pass
    with pytest.raises(Failed, match="Connection"):
        flood_for(relay.port, "pings", 0.2, 1)


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_process() -> None:
    mark = f"BENCH_TEST_{uuid.uuid4().hex}"
    command = (sys.executable, "-m", "bench", "hostile", "pings", "--seconds", "60")
    with started(
        *command,
        env={**os.environ, mark: "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as attacking:
        while len(marked(mark)) < 5:  # itself, a relay, honest peers, two attackers
            assert attacking.poll() is None
            time.sleep(0.05)
        attacking.send_signal(signal.SIGTERM)
        assert attacking.wait(30) == 143
    deadline = time.monotonic() + 5
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.02)  # the kernel may still be putting one away
    assert marked(mark) == []
