"""A real Prometheus server, scraping the relays it is told of."""

import asyncio
import contextlib
import json
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from bench.support.ports import free_port


class Prometheus:
    """A running server; its API by its words."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    async def get(self, path: str, **query: str) -> Any:
        """The ``data`` of an API answer."""
        url = f"{self._url}{path}?{urllib.parse.urlencode(query)}"

        def fetch() -> Any:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return json.loads(reply.read())["data"]

        return await asyncio.to_thread(fetch)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The series an instant query returns."""
        result: list[dict[str, Any]] = (await self.get("/api/v1/query", query=expression))["result"]
        return result

    async def query_range(
        self, expression: str, start: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """The series of an expression from ``start`` to ``end``, seconds since the epoch."""
        query = {"query": expression, "start": f"{start}", "end": f"{end}", "step": f"{step}"}
        answer = await self.get("/api/v1/query_range", **query)
        result: list[dict[str, Any]] = answer["result"]
        return result

    async def until(self, expression: str, patience: float = 20) -> list[dict[str, Any]]:
        """The series of a query, as soon as it returns any."""
        async with asyncio.timeout(patience):
            while True:
                with contextlib.suppress(OSError):
                    if found := await self.query(expression):
                        return found
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def prometheus(
    directory: Path,
    targets: Mapping[str, int],
    *,
    interval: str = "200ms",
    rules: Path | None = None,
) -> AsyncIterator[Prometheus]:
    """A server that scrapes ports of this machine, by instance, as job ``fastrelay``."""
    relays = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": instance}}
        for instance, port in targets.items()
    ]
    config = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "rule_files": [str(rules)] if rules else [],
        "scrape_configs": [{"job_name": "fastrelay", "static_configs": relays}],
    }
    # JSON is YAML.
    (directory / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
        try:
            yield Prometheus(port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
