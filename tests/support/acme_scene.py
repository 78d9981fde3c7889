"""A whole life with ``--domain``, to be run in a sealed machine: see ``tests/acme/test_acme.py``.

A CA, a relay on ports 443 and 80 exactly as an operator would start it, the probe from outside, a
renewal under a connection that stays, and the end.
"""

import asyncio
import signal
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.pebble import pebble
from tests.support.peer import Peer, open_http, open_peer, request

NAME = "relay.example.org"
SERVER = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1", "Host": NAME}
CLIENT = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Token": "t", "Host": NAME}
VALIDITY = 9
"""Seconds; renewed when a third is left."""
NO_CHECK_TIME = 0x200000
"""``X509_V_FLAG_NO_CHECK_TIME``, which :mod:`ssl` has no name for.

On a machine that is busy a certificate of a few seconds may have expired before a worker hears of
the next one, or before the client looks at it.
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not condition():
            await asyncio.sleep(0.02)


def serial(peer: Peer) -> object:
    certificate = peer.writer.get_extra_info("ssl_object").getpeercert()
    return certificate["serialNumber"]


async def play(directory: Path) -> None:
    log = directory / "relay.log"
    async with pebble(directory, 80, validity=VALIDITY) as ca:
        with log.open("wb") as stderr:
            relay = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "fastrelay", "--domain", NAME),
                *("--cert-cache", str(directory / "certs"), "--upgrade-burst", "100"),
                *("--acme-directory", ca.directory, "--acme-ca-file", str(ca.ca_file)),
                stderr=stderr,
            )
        await until(lambda: "msg=certificate_installed" in log.read_text())
        root = directory / "root.pem"
        root.write_bytes(await ca.root())
        async with asyncio.timeout(60):  # once, unless the certificate has expired: see above
            while await probe(root):
                pass
        tls = ssl.create_default_context(cafile=str(root))
        tls.verify_flags |= NO_CHECK_TIME
        binary = await open_peer(443, "/v1/server", SERVER, host=NAME, tls=tls)
        phone = await open_peer(443, "/v1/client", CLIENT, host=NAME, tls=tls)
        await until(lambda: log.read_text().count("msg=certificate_installed") >= 2)
        async with asyncio.timeout(40):  # the workers hear of it one after the other
            while serial(newcomer := await newcomer_with(tls)) == serial(phone):
                await newcomer.close()
        phone.send_text('"still here"')
        while "frame" not in (said := await binary.json()):
            pass  # notices of newcomers that left
        assert said["frame"] == "still here"
        print("renewed under a connection that stayed")
        await elsewhere(tls)
        relay.send_signal(signal.SIGTERM)
        assert await binary.closed() == (1001, "shutting down")
        for peer in (binary, phone, newcomer):
            await peer.close()
        assert await relay.wait() == 0
    print(log.read_text())


async def probe(root: Path) -> int:
    arguments = ("-m", "fastrelay", "probe", f"wss://{NAME}", "--ca-file", str(root))
    return await (await asyncio.create_subprocess_exec(sys.executable, *arguments)).wait()


async def newcomer_with(tls: ssl.SSLContext) -> Peer:
    return await open_peer(443, "/v1/client", CLIENT, host=NAME, tls=tls)


async def elsewhere(tls: ssl.SSLContext) -> None:
    """Another name gets 421; port 80 knows challenges and nothing else."""
    streams = await asyncio.open_connection(NAME, 443, ssl=tls)
    streams[1].write(request("/healthz", {"Host": "other.example.org"}))
    assert b" 421 " in await streams[0].readline()
    streams[1].transport.abort()
    async with await open_http(80) as plain:
        for path in ("/", "/healthz", "/.well-known/acme-challenge/guess"):
            plain.send(request(path))
            assert (await plain.response())[0] == 404


if __name__ == "__main__":
    asyncio.run(play(Path(sys.argv[1])))
