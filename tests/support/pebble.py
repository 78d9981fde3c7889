"""A real ACME server: Debian's ``pebble``, with a DNS that sends every name to this machine."""

import asyncio
import contextlib
import json
import os
import ssl
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import trustme

from bench.support.ports import free_port
from tests.support.programs import needs


class Pebble:
    """A running CA.

    Attributes:
        authority: what its own HTTPS certificate comes from.
        directory: URL of its directory.
        ca_file: what verifies its own HTTPS.
    """

    def __init__(
        self, port: int, management_port: int, authority: trustme.CA, ca_file: Path
    ) -> None:
        self.authority = authority
        self.directory = f"https://127.0.0.1:{port}/dir"
        self.ca_file = ca_file
        self._management = f"https://127.0.0.1:{management_port}"

    async def get(self, url: str) -> bytes:
        """The body of a GET, verified like any client would."""
        context = ssl.create_default_context(cafile=str(self.ca_file))

        def fetch() -> bytes:
            with urllib.request.urlopen(url, timeout=5, context=context) as reply:
                return bytes(reply.read())

        return await asyncio.to_thread(fetch)

    async def root(self) -> bytes:
        """The certificate (PEM) that verifies what it issues."""
        return await self.get(f"{self._management}/roots/0")


@contextlib.asynccontextmanager
async def pebble(
    directory: Path, http_port: int, *, validity: int = 3600, nonce_reject: int = 0
) -> AsyncIterator[Pebble]:
    """A CA that validates HTTP-01 on ``http_port``.

    ``validity``: seconds its certificates are good for; ``nonce_reject``: percent of good nonces
    it refuses.
    """
    needs("pebble", "pebble")
    port, management, dns = free_port(), free_port(), free_port()
    authority = trustme.CA()
    ca_file = directory / "pebble-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    own = authority.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(str(directory / "pebble-key.pem"))
    for blob in own.cert_chain_pems:
        blob.write_to_path(str(directory / "pebble-cert.pem"), append=True)
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(directory / "pebble-cert.pem"),
        "privateKey": str(directory / "pebble-key.pem"),
        "httpPort": http_port,
        "tlsPort": http_port,
        "certificateValidityPeriod": validity,
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": config}))
    environment = os.environ | {
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
    }
    off = ("-http01", "", "-https01", "", "-tlsalpn01", "")
    log = (directory / "pebble.log").open("wb")
    commands = (
        (
            "pebble-challtestsrv",
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-dns01",
            f"127.0.0.1:{dns}",
            "-management",
            f"127.0.0.1:{free_port()}",
            *off,
        ),
        ("pebble", "-config", str(directory / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"),
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(log.close)
        for command in commands:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, env=environment
            )
            stack.push_async_callback(_end, process)
        ca = Pebble(port, management, authority, ca_file)
        async with asyncio.timeout(40):
            while True:
                with contextlib.suppress(OSError):
                    await ca.get(ca.directory)
                    break
                await asyncio.sleep(0.05)
        yield ca


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
