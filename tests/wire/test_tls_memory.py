"""Memory that cannot be had costs the connection that wanted it, not the relay or another's TLS."""

import asyncio
import contextlib
import gc
import re
import resource
import socket
import ssl
import sys
from pathlib import Path

import pytest

from bench.support.ports import free_port
from fastrelay.http.connection import HttpProtocol
from fastrelay.net.tls.layer import TlsLayer
from fastrelay.net.tls.session import TlsSession
from fastrelay.websocket.connection import Connection
from tests.support.certificates import authority, local_certificate
from tests.support.harness import running_relay
from tests.support.peer import HttpClient, client_frame, request, upgrade_headers

HALF_MESSAGE = client_frame(b"x" * 200_000)[:-1]
MOST_CLIENTS = 600
MORE_CLIENTS = 30
"""Those that dial when memory is short already."""

MARGIN = 24 * 1024 * 1024
"""Bytes of address space that the relay may have beyond what it has when it serves."""


def address_space(pid: int) -> int:
    """Bytes of address space a process uses."""
    found = re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def dial(port: int, number: int) -> ssl.SSLSocket:
    """A binary over TLS that has sent all of a message but its last byte."""
    with contextlib.ExitStack() as closing:
        sock = closing.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        secured = authority().client.wrap_socket(sock, server_hostname="127.0.0.1")
        client = closing.enter_context(secured)
        headers = {"X-Pyrycode-Server": f"s{number}", "X-Pyrycode-Version": "1"}
        client.sendall(request("/v1/server", upgrade_headers(headers)))
        if b" 101 " not in client.recv(4096):
            raise ConnectionError("no 101")
        client.sendall(HALF_MESSAGE)
        closing.pop_all()
        return client


@pytest.mark.slow
async def test_a_relay_that_runs_out_of_memory_goes_on(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    certificate = local_certificate()
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fastrelay", "--https-listen", f"127.0.0.1:{port}"),
            *("--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key)),
            *("--metrics-listen", "", "--upgrade-burst", "0", "--workers", "1"),
            stderr=stderr,
        )
    clients: list[ssl.SSLSocket] = []
    try:
        async with asyncio.timeout(40):
            while " msg=starting " not in log.read_text():
                await asyncio.sleep(0.02)
        most = address_space(process.pid) + MARGIN
        resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))
        alerts = await asyncio.to_thread(exhaust, port, log, clients)
        assert process.returncode is None, log.read_text()
        assert not alerts, "TLS of a client was broken by what another one sent"
        for client in clients:
            client.close()
        clients.clear()
        async with asyncio.timeout(40):
            while not clients:
                with contextlib.suppress(OSError):
                    clients.append(await asyncio.to_thread(dial, port, MOST_CLIENTS))
        assert "Traceback" not in log.read_text()
        process.terminate()
        async with asyncio.timeout(40):
            assert await process.wait() == 0
    finally:
        for client in clients:
            client.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def exhaust(port: int, log: Path, clients: list[ssl.SSLSocket]) -> list[str]:
    """Dial until memory is short, and some more; returns the alerts that clients saw."""
    alerts: list[str] = []
    more = MORE_CLIENTS
    for number in range(MOST_CLIENTS):
        try:
            clients.append(dial(port, number))
        except ssl.SSLEOFError:
            pass
        except ssl.SSLError as error:
            alerts.append(str(error))
        except OSError:
            pass
        more -= "MemoryError" in log.read_text()
        if not more:
            return alerts
    pytest.fail("the relay's memory has no end")


@pytest.mark.parametrize("upgraded", [False, True])
async def test_a_connection_is_freed_without_the_garbage_collector(upgraded: bool) -> None:
    """The relay's process has it not look at what is old: a cycle would stay for ever."""
    gc.collect()
    gc.disable()
    try:
        async with running_relay(tls=local_certificate()) as relay:
            if upgraded:
                client: HttpClient = await relay.binary()
            else:
                client = await relay.http()
            assert [thing for thing in gc.get_objects() if isinstance(thing, TlsLayer)]
            await client.close()
            kinds = (TlsLayer, TlsSession, Connection, HttpProtocol)
            await relay.until(
                lambda: not [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
            )
    finally:
        gc.enable()
