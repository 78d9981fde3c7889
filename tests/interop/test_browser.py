"""A page in a real browser: it can set no headers, so it gets 400 and never a socket."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tests.interop.toolchains import CLIENTS
from tests.support.process import RelayProcess
from tests.support.programs import needs

TIMEOUT = 60.0
BROWSER = "chromium-headless-shell"
NO_SOCKET = [1006]
"""What a WebSocket that never opened reports: no event but its close, which no peer sent."""


@pytest.mark.slow
async def test_a_page_gets_no_socket(relay: RelayProcess, tmp_path: Path) -> None:
    needs(BROWSER, BROWSER)
    before = await upgrade_attempts(relay)
    seen = await what_a_page_sees(relay.port, tmp_path)
    after = await upgrade_attempts(relay)
    assert seen == {
        "reachable": "opaque",
        "phone": NO_SOCKET,
        "binary": NO_SOCKET,
        "phone, protocol": NO_SOCKET,
        "phone, query": NO_SOCKET,
        "binary, query": NO_SOCKET,
        "fetch": "TypeError",
    }
    # reject_headers counts answers of 400. The fetch's preflight carries no header either.
    assert {cell: after[cell] - before[cell] for cell in after if after[cell] != before[cell]} == {
        ("client", "reject_headers"): 4,
        ("server", "reject_headers"): 2,
    }


async def what_a_page_sees(relay_port: int, directory: Path) -> Any:
    """Let a browser load ``clients/browser.html``; returns what its script reports."""
    reported: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def page(_: web.Request) -> web.FileResponse:
        return web.FileResponse(CLIENTS / "browser.html")

    async def report(request: web.Request) -> web.Response:
        reported.set_result(await request.json())
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/", page), web.post("/seen", report)])
    async with serving(app) as port, asyncio.timeout(TIMEOUT):
        async with browser(f"http://127.0.0.1:{port}/?relay=127.0.0.1:{relay_port}", directory):
            return await reported


@contextlib.asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[int]:
    """Serve ``app``; gives the port."""
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    try:
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def browser(url: str, directory: Path) -> AsyncIterator[None]:
    """A headless Chromium that shows ``url``."""
    with (directory / "browser.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            BROWSER,
            "--no-sandbox",  # refused to root, which CI may be; the page is ours
            "--no-proxy-server",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={directory / 'profile'}",
            "--remote-debugging-port=0",  # keeps it open
            url,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # Debian's command is a script around it
        await process.wait()


async def upgrade_attempts(relay: RelayProcess) -> dict[tuple[str, str], float]:
    """Upgrade attempts so far, by endpoint and outcome, as a scrape shows them."""
    name = "pyrycode_relay_ws_upgrade_attempts_total"
    return {
        (sample.labels["endpoint"], sample.labels["outcome"]): sample.value
        for family in text_string_to_metric_families(
            await relay.get(relay.metrics_port, "/metrics")
        )
        for sample in family.samples
        if sample.name == name
    }
