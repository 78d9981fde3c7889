"""Workers that die, hang or lose their supervisor: who notices, and what is left."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
from pathlib import Path

import pytest

from fastrelay.config.settings import Address, Intervals, Settings
from fastrelay.net.bound_sockets import bind, bind_for_workers, bind_group
from tests.support.certificates import authority
from tests.support.harness import settings_for
from tests.support.in_subprocess import start_process, starting_relay
from tests.support.peer import request, upgrade_headers
from tests.support.workers import SPARE, Pair, accepts, ask, claim, is_up, pairs, workers
from tests.wire.test_tls import put, serial


async def test_a_killed_worker_takes_its_own_connections_and_no_other() -> None:
    async with workers() as relay:
        made = await pairs(relay, 12)
        gone = [pair for pair in made if pair.owner == 0]
        os.kill(relay.workers[0], signal.SIGKILL)
        for pair in gone:
            assert await pair.binary.at_eof()
            assert await pair.phone.at_eof()
        for pair in made:
            if pair.owner:
                await pair.converse(b'"still there"')
        name = gone[0].server_id
        again = await claim(relay, name)
        await Pair(name, 0, again, await relay.phone(name)).converse(b"1")
        await relay.until(lambda: relay.value("worker_restarts_total", worker="0") == 1)
        assert relay.value("worker_restarts_total", worker="1") == 0
        assert len(relay.log_of("worker_died")) == 1
        await relay.until(lambda: relay.log_of("worker_restarted"))
        (line,) = relay.log_of("worker_restarted")
        assert "worker=0" in line


async def test_kills_in_a_row_leave_nothing_behind() -> None:
    async with workers(intervals={"worker_restart_most": 0.05}) as relay:
        files = relay.samples()["process_open_fds", ()]
        accepted = 0
        for number in range(4):
            victim = number % 2
            opened = [await relay.binary(f"a{number}-{i}") for i in range(3)]
            accepted += 3
            # The 101 leaves some microseconds before the accept is counted.
            await relay.until(lambda count=accepted: accepts(relay) == count)
            pid = relay.workers[victim]
            os.kill(pid, signal.SIGKILL)
            await relay.until(lambda pid=pid: pid not in relay.workers.values())
            await is_up(relay, victim)
            for peer in opened:
                await peer.close()
        await relay.until(lambda: relay.value("connected_binaries") == 0)
        await relay.until(lambda: relay.samples()["process_open_fds", ()] <= files + SPARE)
        assert accepts(relay) == accepted
        assert sum(relay.value("worker_restarts_total", worker=w) for w in "01") == 4


async def test_a_worker_that_a_client_kills_again_and_again_ends_nobody_elses_connections() -> None:
    async with workers(intervals={"worker_restart_most": 0.05}) as relay:
        made = await pairs(relay, 8)
        others = [pair for pair in made if pair.owner == 1]
        poisoned = next(pair.server_id for pair in made if pair.owner == 0)
        for number in range(3):
            if number:
                await claim(relay, poisoned)
            os.kill(relay.workers[0], signal.SIGKILL)
            for pair in others:
                await pair.converse(f'"{number}"'.encode())
            restarts = number + 1
            await relay.until(
                lambda restarts=restarts: (
                    relay.value("worker_restarts_total", worker="0") == restarts
                )
            )
            await is_up(relay, 0)
        await claim(relay, poisoned)
        assert relay.value("worker_restarts_total", worker="1") == 0


async def test_a_certificate_reaches_all_workers_and_what_becomes_of_it_is_said_once(
    tmp_path: Path,
) -> None:
    files = authority().issue(tmp_path)
    async with workers(tls=files, intervals={"certificate_reload": 0.01}) as relay:
        before = await serial(relay.port)
        files.certificate.write_text("no certificate")
        os.kill(relay.pid, signal.SIGHUP)
        await relay.until(lambda: relay.log_of("certificate_refused"))
        put(authority().issue(tmp_path, name="next"), files)
        os.kill(relay.pid, signal.SIGHUP)
        in_a_row = 0
        async with asyncio.timeout(40):
            while in_a_row < 12:  # the kernel spreads them over the workers
                in_a_row = in_a_row + 1 if await serial(relay.port) != before else 0
        await relay.until(lambda: relay.log_of("certificate_installed"))
        for event in ("certificate_refused", "certificate_installed"):
            assert len(relay.log_of(event)) == 1


async def test_while_a_worker_is_down_another_accepts_and_503_is_said_for_its_server_ids() -> None:
    async with workers(intervals={"worker_restart": 1000.0}) as relay:
        made = await pairs(relay, 2)
        names = {pair.owner: pair.server_id for pair in made}
        for is_at_once in (True, False):  # the second restart has to wait
            pid = relay.workers[0]
            os.kill(pid, signal.SIGKILL)
            await relay.until(lambda pid=pid: pid not in relay.workers.values())
            if is_at_once:
                await is_up(relay, 0)
                await claim(relay, names[0])
        left = sum(pair.owner for pair in made)
        await relay.until(lambda: relay.value("connected_binaries") == left)
        assert relay.value("worker_connections", worker="0") == 0
        for _ in range(12):  # the kernel spreads them over the sockets of both
            for owner, status in ((0, 503), (1, 101)):
                client = await relay.http()
                ask(client, "client", names[owner])
                got, headers, _ = await client.response()
                assert (got, headers.get("retry-after")) == (status, "2" if owner == 0 else None)
        assert relay.value("worker_up", worker="0") == 0


async def test_a_hung_worker_is_relieved_and_then_killed() -> None:
    intervals = {"worker_silent": 0.2, "worker_hung": 3.0, "handover": 0.5}
    async with workers(3, intervals=intervals) as relay:
        made = await pairs(relay, 9)
        hung = relay.workers[1]
        os.kill(hung, signal.SIGSTOP)
        # Its listening socket is served by another; whoever owns the id answers, or 503 is said.
        for number in range(12):
            client = await relay.http()
            headers = {"X-Pyrycode-Server": f"id{number}", "X-Pyrycode-Token": "t"}
            client.send(request("/v1/client", upgrade_headers(headers)))
            assert (await client.response())[0] in {101, 503}
        await relay.until(lambda: relay.workers.get(1, hung) != hung)
        assert relay.log_of("worker_hung")
        for pair in made:
            if pair.owner != 1:
                await pair.converse(b'"there"')
        await claim(relay, "after")
        await relay.until(lambda: relay.value("worker_restarts_total", worker="1") == 1)


async def test_who_has_accepted_for_another_does_so_no_more_when_it_was_silent_itself() -> None:
    async with workers(3, intervals={"worker_silent": 0.3}) as relay:
        calm = dict.fromkeys(range(3), 3 + 1)  # it holds all, and its own once more
        await relay.until(lambda: relay.listening == calm)
        pids = relay.workers
        for stopped, stand_in in ((1, 2), (2, 0)):
            os.kill(pids[stopped], signal.SIGSTOP)
            await relay.until(lambda i=stand_in: relay.listening[i] > calm[i])
        for stopped in (1, 2):
            os.kill(pids[stopped], signal.SIGCONT)
        await relay.until(lambda: relay.listening == calm)


async def test_without_a_supervisor_workers_drain_and_end() -> None:
    async with workers(intervals={"drain": 0.3}) as relay:
        made = await pairs(relay, 4)
        pids = list(relay.workers.values())
        os.kill(relay.pid, signal.SIGKILL)
        for pair in made:
            assert await pair.binary.closed() == (1001, "shutting down")
            # It does not answer, and is not waited for longer than the drain.
            assert await pair.phone.closed(answer=False) == (1001, "shutting down")
        async with asyncio.timeout(40):
            while any(_is_alive(pid) for pid in pids):
                await asyncio.sleep(0.02)
        bind(Address("127.0.0.1", relay.port)).close()  # nobody has the port any more
        relay.expect(-signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        return " Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


async def test_a_worker_without_descriptors_is_connected_with_one_that_is_restarted() -> None:
    async with workers() as relay:
        made = await pairs(relay, 2)
        names = {pair.owner: pair.server_id for pair in made}
        short = relay.workers[0]
        limits = resource.prlimit(short, resource.RLIMIT_NOFILE)
        resource.prlimit(short, resource.RLIMIT_NOFILE, (3, limits[1]))
        os.kill(relay.workers[1], signal.SIGKILL)
        await relay.until(lambda: relay.value("worker_restarts_total", worker="1") == 1)
        await is_up(relay, 1)  # so the sockets to it have been sent to the other one
        resource.prlimit(short, resource.RLIMIT_NOFILE, limits)
        in_a_row = 0
        async with asyncio.timeout(40):
            while in_a_row < 40:  # the kernel spreads them over the workers
                client = await relay.http()
                headers = {"X-Pyrycode-Server": names[in_a_row % 2], "X-Pyrycode-Token": "t"}
                client.send(request("/v1/client", upgrade_headers(headers)))
                in_a_row = in_a_row + 1 if (await client.response())[0] == 101 else 0
                await client.close()


async def test_signals_of_the_supervisor_do_not_end_a_worker() -> None:
    async with workers() as relay:
        pair, *_ = await pairs(relay, 1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            for pid in relay.workers.values():
                os.kill(pid, number)
        await asyncio.sleep(0.2)
        await pair.converse(b"1")
        assert sum(relay.value("worker_restarts_total", worker=w) for w in "01") == 0


async def test_an_owner_that_is_away_is_503_in_time() -> None:
    async with workers(intervals={"worker_silent": 0.2, "handover": 0.5}) as relay:
        made = await pairs(relay, 8)
        os.kill(relay.workers[1], signal.SIGSTOP)
        away = next(pair.server_id for pair in made if pair.owner == 1)
        refused = 0
        while not refused:
            client = await relay.http()
            headers = {"X-Pyrycode-Server": away, "X-Pyrycode-Token": "t"}
            client.send(request("/v1/client", upgrade_headers(headers)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    status, got, _ = await client.response()
                    assert (status, got["retry-after"]) == (503, "2")
                    refused += 1
        os.kill(relay.workers[1], signal.SIGCONT)
        # Of the attempts that got no answer in time the relay may have refused some as well.
        assert relay.value("refusals_total", reason="owner_away") >= 1
        assert relay.value("refusals_total", reason="relay_full") == 0


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_a_second_relay_on_the_port_is_refused(host: str) -> None:
    group = bind_group(Address(host, 0), 3)
    try:
        port = group[0].getsockname()[1]
        for count in (1, 2):
            with pytest.raises(OSError, match="in use"):
                bind_group(Address(host, port), count)
        with pytest.raises(OSError, match="in use"):
            bind(Address(host, port))
        assert {sock.getsockname()[1] for sock in group} == {port}
        for sock in group:
            sock.setblocking(False)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        accepted = []
        for sock in group:
            with contextlib.suppress(BlockingIOError):
                while True:
                    accepted.append((sock, sock.accept()[0]))
        assert len(accepted) == 60
        assert {sock for sock, _ in accepted} == set(group)
        for sock in (*clients, *(sock for _, sock in accepted)):
            sock.close()
    finally:
        for sock in group:
            sock.close()


async def test_a_worker_that_dies_while_others_are_ready_does_not_make_them_serve() -> None:
    async with starting_relay(settings_for(workers=3), 0.0) as relay:
        await relay.until(lambda: 1 in relay.workers)
        slow = relay.workers[1]
        os.kill(slow, signal.SIGSTOP)
        await is_up(relay, 0)
        await is_up(relay, 2)
        os.kill(slow, signal.SIGKILL)
        await relay.started()
        await relay.binary()
        # That no worker has reported an internal error is seen at the end.


async def test_a_broken_listener_of_the_supervisor_ends_the_relay(tmp_path: Path) -> None:
    local = Address("127.0.0.1", 0)
    settings = Settings(
        listen=local, metrics_listen=local, workers=2, intervals=Intervals(tick=0.005)
    )
    public, others = bind_for_workers(settings, 2)
    log = tmp_path / "log"
    with contextlib.ExitStack() as stack:
        for sock in (*public, others):
            stack.enter_context(contextlib.closing(sock))
        sockets = others._replace(public=public[0])
        process = await start_process(settings, sockets, public[1:], log)
        try:
            async with asyncio.timeout(40):
                while " msg=starting " not in log.read_text():
                    await asyncio.sleep(0.005)
                assert others.metrics is not None
                others.metrics.shutdown(socket.SHUT_RDWR)  # of the socket that both hold
                assert await process.wait() == 1
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
    assert log.read_text().count(" msg=listener_failed ") == 1
