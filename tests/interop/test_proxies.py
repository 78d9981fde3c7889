"""Connections that are kept for many requests, and a proxy's checks: nobody loses a request."""

import asyncio
import contextlib
import http.client
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.support.ports import free_port
from tests.support.attempts import CLIENT
from tests.support.certificates import authority, local_certificate
from tests.support.harness import (
    START,
    RelayInProcess,
    relay_in_process,
    relay_with_workers,
    running_relay,
)
from tests.support.peer import open_peer
from tests.support.programs import needs

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
NEVER = {"head": 1000.0}
"""No connection is idle for too long, however slow the machine is."""

POSTS = [("/healthz", 405), ("/nothing", 404), ("/v1/server", 400), ("/nothing", 404)]
BODIES = [b"", b"", b"something", b""]


def post(port: int, count: int, tls: ssl.SSLContext | None = None) -> list[tuple[int, int]]:
    """So many POSTs of each kind, one behind the other; gives what was expected and what came."""
    if tls is None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    else:
        client = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=tls)
    answers = []
    for number in range(count):
        path, expected = POSTS[number % len(POSTS)]
        client.request("POST", path, BODIES[number // len(POSTS) % len(BODIES)])
        response = client.getresponse()
        response.read()
        answers.append((expected, response.status))
    client.close()
    return answers


@contextlib.asynccontextmanager
async def proxy(port: int, *command: str) -> AsyncIterator[None]:
    """A running proxy that listens on ``port``."""
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("start", [relay_in_process, relay_with_workers])
@pytest.mark.parametrize("secure", [False, True])
async def test_http_client_on_kept_connections(start: object, secure: bool) -> None:
    token = START.set(start)
    try:
        tls = local_certificate() if secure else None
        async with running_relay(tls=tls, intervals=NEVER) as relay:
            answers = await asyncio.to_thread(post, relay.port, 350, relay.tls)
    finally:
        START.reset(token)
    assert len(answers) == 350
    assert not [answer for answer in answers if answer[0] != answer[1]]


NGINX = """\
worker_processes 1;
daemon off;
error_log stderr;
pid {directory}/pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{shipped}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 10000;
{location}
    }}
}}
"""


def nginx_config(directory: Path, port: int, relay_port: int) -> str:
    """The shipped way to the relay behind another listener."""
    text = (DEPLOY / "nginx.conf").read_text()
    shipped = text[text.index("    map ") : text.index("    server {")]
    location = text[text.index("        location / {") : text.rindex("    }\n}")]
    assert "keepalive_timeout" in shipped
    return NGINX.format(
        directory=directory,
        port=port,
        shipped=shipped.replace("127.0.0.1:8080", f"127.0.0.1:{relay_port}"),
        location=location,
    )


@pytest.mark.parametrize("start", [relay_in_process, relay_with_workers])
async def test_nginx_with_connections_kept_to_the_relay(start: object, tmp_path: Path) -> None:
    needs("nginx", "nginx-light")
    token = START.set(start)
    try:
        async with running_relay(intervals=NEVER) as relay:
            port = free_port()
            config = tmp_path / "nginx.conf"
            config.write_text(nginx_config(tmp_path, port, relay.port))
            async with proxy(port, "/usr/sbin/nginx", "-c", str(config)):
                answers = await asyncio.to_thread(post, port, 350)
    finally:
        START.reset(token)
    assert len(answers) == 350
    assert not [answer for answer in answers if answer[0] != answer[1]]


def haproxy_config(directory: Path, port: int, relay_port: int) -> str:
    """The shipped file, but for ports, and with a socket to ask it."""
    text = (DEPLOY / "haproxy-tcp.cfg").read_text()
    assert " check " in text
    for old, new in (
        ("\nglobal\n", f"\nglobal\n    stats socket {directory}/s\n"),
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("bind :80", f"bind 127.0.0.1:{free_port()}"),
        ("server relay 127.0.0.1:8443", f"server relay 127.0.0.1:{relay_port}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


async def check_status(socket: Path) -> tuple[str, str]:
    """What HAProxy thinks of the relay, and the outcome of its last check."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b"show stat\n")
    names, *rows = (await reader.read()).decode().removeprefix("# ").splitlines()
    writer.close()
    for row in rows:
        found = dict(zip(names.split(","), row.split(","), strict=False))
        if found.get("pxname") == "relay_https" and found["svname"] == "relay":
            return found["status"], found["check_status"].removeprefix("* ")  # one more runs
    raise AssertionError(rows)


async def test_the_checks_of_haproxy_bring_a_header_of_their_own(tmp_path: Path) -> None:
    needs("haproxy", "haproxy")
    believed = (ipaddress.ip_network("127.0.0.0/8"),)
    async with running_relay(tls=local_certificate(), proxy_headers=believed) as relay:
        assert isinstance(relay, RelayInProcess)
        port = free_port()
        config, socket = tmp_path / "haproxy.cfg", tmp_path / "s"
        config.write_text(haproxy_config(tmp_path, port, relay.port))
        async with proxy(port, "/usr/sbin/haproxy", "-db", "-f", str(config)):
            async with asyncio.timeout(20):
                while (status := await check_status(socket))[1] in {"", "INI"}:
                    await asyncio.sleep(0.02)
            assert status == ("UP", "L7OK")
            phone = await open_peer(port, "/v1/client", CLIENT, tls=authority().client)
            assert (await relay.own(phone).closed())[0] == 4404
        assert not relay.log_of("proxy_header_refused")
