"""The shipped examples, exactly as they are, in front of a real relay."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest
import trustme

from fastrelay.config.settings import Intervals
from tests.support.certificates import local_certificate
from tests.support.containerfile import health_check, one, stages
from tests.support.harness import running_relay
from tests.support.programs import needs
from tests.support.sealed import ADDRESS, run_sealed

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
CERTIFICATES = "ssl/relay.example.org"

BEHIND_A_PROXY = """\
{python} -m fastrelay {flags} --workers 3 --upgrade-burst 0 2>{log} &
relay=$!
until grep -q msg=starting {log}; do sleep 0.05; done
export XDG_DATA_HOME=/etc/data XDG_CONFIG_HOME=/run HOME=/run
{proxy} &
until {python} -c 'import socket; socket.create_connection(("127.0.0.1", 443)).close()' \
    2>/dev/null; do sleep 0.05; done
{python} -c '{phone}' {ca}
{python} -m fastrelay probe wss://relay.example.org --ca-file {ca}
{python} -m fastrelay probe wss://relay.example.org --ca-file {ca} --interval 0.01 2>/dev/null \
    | head -n {rounds} >{probes}
kill $relay
wait $relay
"""
ROUNDS = int(os.environ.get("PROBE_ROUNDS", "5"))
"""How often the relay is probed through each proxy; it has three workers, which share the work."""

LYING_PHONE = """
import asyncio, ssl, sys
from tests.support.peer import open_peer
headers = {"Host": "relay.example.org", "X-Pyrycode-Server": "liar", "X-Pyrycode-Token": "t"}
headers |= {"X-Forwarded-For": "203.0.113.9", "X-Real-Ip": "203.0.113.9"}
async def lie():
    tls = ssl.create_default_context(cafile=sys.argv[1])
    peer = await open_peer(443, "/v1/client", headers, host="relay.example.org", tls=tls)
    print(await peer.closed())
    await peer.close()
asyncio.run(lie())
"""
PLAIN = "--insecure-listen 127.0.0.1:8080 --trust-x-forwarded-for 127.0.0.0/8"
TCP = (
    "--tls-cert /etc/ssl/relay.example.org/fullchain.pem"
    " --tls-key /etc/ssl/relay.example.org/privkey.pem --https-listen 127.0.0.1:8443"
    " --https-proxy-protocol --proxy-protocol-from 127.0.0.0/8"
)
CADDY_KEPT = "data/caddy/certificates/acme-v02.api.letsencrypt.org-directory/relay.example.org"


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    """What the examples expect to find, and the CA (``ca``) to verify it with."""
    authority = trustme.CA()
    certificate = authority.issue_cert("relay.example.org")
    files = {
        name: tmp_path / name for name in ("fullchain.pem", "privkey.pem", "combined.pem", "ca")
    }
    authority.cert_pem.write_to_path(str(files["ca"]))
    certificate.private_key_pem.write_to_path(str(files["privkey.pem"]))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(files["combined.pem"]))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(files["fullchain.pem"]), append=True)
    return files


def laid_out(certificates: dict[str, Path], directory: Path) -> dict[str, Path]:
    """Where under ``/etc`` the certificates lie; for Caddy as if it had got them earlier."""
    about = directory / "about.json"
    about.write_text('{"sans": ["relay.example.org"], "issuer_data": {}}')
    return {
        **{f"{CERTIFICATES}/{name}": file for name, file in certificates.items() if name != "ca"},
        f"{CADDY_KEPT}/relay.example.org.crt": certificates["fullchain.pem"],
        f"{CADDY_KEPT}/relay.example.org.key": certificates["privkey.pem"],
        f"{CADDY_KEPT}/relay.example.org.json": about,
    }


@pytest.mark.parametrize(
    ("package", "example", "command", "flags"),
    [
        ("nginx-light", "nginx.conf", "nginx -c /etc/example -g 'daemon off;'", PLAIN),
        ("haproxy", "haproxy.cfg", "haproxy -db -f /etc/example", PLAIN),
        ("haproxy", "haproxy-tcp.cfg", "haproxy -db -f /etc/example", TCP),
        ("caddy", "Caddyfile", "caddy run --config /etc/example --adapter caddyfile", PLAIN),
    ],
    ids=["nginx", "haproxy", "haproxy-tcp", "caddy"],
)
def test_the_probe_passes_through_a_proxy(
    certificates: dict[str, Path],
    tmp_path: Path,
    package: str,
    example: str,
    command: str,
    flags: str,
) -> None:
    """And the relay sees who the client is, whatever the client says about that."""
    needs(command.split()[0], package)
    log, probes = tmp_path / "relay.log", tmp_path / "probes"
    run = run_sealed(
        tmp_path,
        laid_out(certificates, tmp_path) | {"example": DEPLOY / example},
        BEHIND_A_PROXY.format(
            python=sys.executable,
            flags=flags,
            log=log,
            proxy=command,
            ca=certificates["ca"],
            phone=LYING_PHONE,
            rounds=ROUNDS,
            probes=probes,
        ),
        within=40.0 + ROUNDS,
    )
    assert run.returncode == 0, run.stdout + run.stderr + log.read_text()
    assert "wss://relay.example.org works" in run.stdout
    results = probes.read_text().splitlines()
    assert len(results) == ROUNDS
    assert all(" ok " in result for result in results), results
    assert "(4404, 'no server with that id')" in run.stdout
    lines = [line for line in log.read_text().splitlines() if "remote=" in line]
    assert any("server_id=liar" in line for line in lines)
    assert any("msg=server_claimed" in line for line in lines)
    # The shell above opens and closes a connection to see that the proxy is there.
    lines = [line for line in lines if "msg=proxy_header_refused" not in line]
    assert all(f"remote={ADDRESS}" in line for line in lines), lines


@pytest.mark.parametrize(
    ("example", "timeouts"),
    [
        ("nginx.conf", ("proxy_read_timeout", "proxy_send_timeout")),
        ("haproxy.cfg", ("timeout tunnel",)),
        ("haproxy-tcp.cfg", ("timeout client", "timeout server")),
    ],
)
def test_a_quiet_websocket_outlives_no_proxys_patience(
    example: str, timeouts: tuple[str, ...]
) -> None:
    """A ping and the wait for its pong fit in; the default of Caddy is to wait for ever."""
    text = (DEPLOY / example).read_text()
    for name in timeouts:
        (seconds,) = re.findall(rf"^\s*{name}\s+(\d+)s\b", text, re.MULTILINE)
        assert int(seconds) > Intervals().ping + Intervals().pong


def test_nginx_closes_idle_connections_sooner_than_the_relay() -> None:
    upstream = (DEPLOY / "nginx.conf").read_text().partition("upstream")[2].partition("}")[0]
    (seconds,) = re.findall(r"^\s*keepalive_timeout (\d+)s;", upstream, re.MULTILINE)
    assert int(seconds) < Intervals().head


# -- the image -------------------------------------------------------------------------------------


def test_the_image_is_built_in_one_stage_and_run_in_another_as_nobody() -> None:
    building, running = stages()
    assert [name for name, _ in building].count("RUN") == 2
    assert "--require-hashes" in str(building)
    assert not [text for name, text in running if name == "RUN" and "pip" in text]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", one(running, "USER"))
    for name in ("ENTRYPOINT", "CMD"):  # a list: no shell starts it
        assert isinstance(json.loads(one(running, name)), list)
    assert health_check(running)[0].startswith("/opt/fastrelay/bin/")
    copied = [source for name, text in building if name == "COPY" for source in text.split()[:-1]]
    assert all((DEPLOY.parents[1] / source).exists() for source in copied)


@pytest.mark.parametrize("secure", [False, True])
async def test_the_health_check_works_whatever_is_listened_for(secure: bool) -> None:
    """The shipped command, but for the port: 9090 may be taken on this machine."""
    _, *arguments = health_check(stages()[1])
    tls = local_certificate() if secure else None
    async with running_relay(tls=tls) as relay:
        asked = [text.replace(":9090/", f":{relay.metrics_port}/") for text in arguments]
        assert asked != arguments
        assert await ends([sys.executable, *asked]) == 0
        await relay.relay.stop()
        assert await ends([sys.executable, *asked]) == 1


async def ends(command: list[str]) -> int:
    """The exit code of a command."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()
