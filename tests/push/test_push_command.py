"""Push from the command's side: when it is on, what is refused, and that no secret gets out."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bench.support.ports import free_port
from fastrelay.config.flags import CREDENTIALS
from fastrelay.config.push import read_push
from fastrelay.config.service_account import BadCredential, read_service_account
from fastrelay.config.sources import read_options
from fastrelay.push.access_token import AccessTokens
from fastrelay.push.https import HttpsClient, reason_codes
from tests.support.command import LISTEN, refused
from tests.support.google import (
    ACCESS,
    DEVICE,
    answer,
    authority_pem,
    google,
    key_file,
    pem,
    secrets,
)
from tests.support.peer import PING, PONG, Peer, client_frame, open_peer
from tests.support.process import RelayProcess, relay_process


def push_refused(*arguments: str) -> tuple[str, str]:
    """What is wrong and how to fix it, as the command says it; nothing of the key."""
    said = refused(*LISTEN, *arguments)
    assert not [secret for secret in secrets() if secret in "".join(said)]
    return said


# -- the credential -------------------------------------------------------------------------


def test_push_is_off_without_the_variable() -> None:
    assert read_push({}, read_options([], {})) is None


def test_a_key_file_as_google_writes_it_turns_push_on() -> None:
    push = read_push({CREDENTIALS: json.dumps(key_file(), indent=2)}, read_options([], {}))
    assert push is not None
    assert push.endpoint == "https://fcm.googleapis.com"
    assert push.token_url == "https://oauth2.googleapis.com/token"
    assert push.account.project_id == key_file()["project_id"]
    assert not [secret for secret in secrets() if secret in repr(push)]


def test_where_tokens_are_fetched_is_not_for_the_credential_to_say() -> None:
    key = json.dumps(key_file(token_uri="https://elsewhere.example/token"))
    push = read_push({CREDENTIALS: key}, read_options([], {}))
    assert push is not None
    assert push.token_url == "https://oauth2.googleapis.com/token"


def test_the_flags_say_where_it_goes(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text(authority_pem())
    flags = (
        *("--push-endpoint", "https://[::1]:8443/fcm/"),
        *("--push-token-url", "https://proxy.example/token"),
        *("--push-ca-file", str(authority)),
    )
    push = read_push({CREDENTIALS: json.dumps(key_file())}, read_options(flags, {}))
    assert push is not None
    assert (push.endpoint, push.token_url) == (
        "https://[::1]:8443/fcm",
        "https://proxy.example/token",
    )
    assert push.ca_file == str(authority)


def broken(**changes: Any) -> str:
    return json.dumps(key_file(**changes))


WEAK_KEY = pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))
LOST: Any = ...


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is not JSON"),
        ("/etc/fastrelay/key.json", "is not JSON"),
        (broken()[:-1], "is not JSON"),
        ("\udcff", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "has no usable type"),
        (broken(type="authorized_user"), "has no usable type"),
        (broken(project_id="../../v2"), "has no usable project_id"),
        (broken(project_id=None), "has no usable project_id"),
        (broken(client_email=""), "has no usable client_email"),
        (broken(client_email="a\nb@c"), "has no usable client_email"),
        (broken(private_key=["x"]), "has no usable private_key"),
        (broken(private_key_id=5), "has no usable private_key_id"),
        (broken(private_key="-"), "has a private_key that cannot be read"),
        (broken(private_key=broken()), "has a private_key that cannot be read"),
        (
            broken(private_key=key_file()["private_key"].replace("\n", "\\n")),
            "has a private_key that cannot be read",
        ),
        (broken(private_key=key_file()["private_key"][:-90]), "has a private_key that"),
        (broken(private_key=WEAK_KEY), "has a private_key that is not RSA of 2048"),
        (broken(private_key=pem(ec.generate_private_key(ec.SECP256R1()))), "is not RSA of 2048"),
    ],
)
def test_a_malformed_credential(monkeypatch: pytest.MonkeyPatch, text: str, what: str) -> None:
    with pytest.raises(BadCredential) as caught:
        read_service_account(text)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    monkeypatch.setattr("os.environ", {CREDENTIALS: text})
    said, fix = push_refused()
    assert said.startswith(f"{CREDENTIALS} ")
    assert what in said
    assert "unset it to run without push" in fix


def test_a_malformed_credential_refuses_the_whole_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CREDENTIALS, broken(project_id=7))
    command = [sys.executable, "-m", "fastrelay", *LISTEN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 2)
    assert not [secret for secret in secrets() if secret in done.stderr]


@pytest.mark.parametrize("package", ["jwt", "cryptography"])
def test_a_credential_without_the_extra(package: str) -> None:
    program = (
        f"import os, sys; sys.modules[{package!r}] = None; os.environ[{CREDENTIALS!r}] = '{{}}';"
        f" from fastrelay.cli import main; sys.exit(main({LISTEN!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    what, fix = done.stderr.splitlines()
    assert what.startswith(f"fastrelay: {CREDENTIALS} is set, but push needs {package}")
    assert what.endswith(", which is not installed")
    assert "pip install 'PATH[push]'" in fix


def test_without_push_nothing_of_the_extra_is_loaded() -> None:
    program = """
import asyncio, sys
import fastrelay.cli, fastrelay.process.run
from fastrelay.log import Log
from fastrelay.metrics import make_metrics
from fastrelay.net.bound_sockets import bind_all
from fastrelay.server.relay import Relay
from fastrelay.config.settings import Address, Settings

async def live():
    settings = Settings(listen=Address("127.0.0.1", 0))
    relay = Relay(settings, Log(print), make_metrics())
    relay.start(bind_all(settings))
    await relay.stop()

asyncio.run(live())
print(sorted({"fastrelay.push.https", "jwt", "cryptography"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# -- the flags ------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--push-endpoint", "--push-token-url", "--push-ca-file"])
def test_a_flag_that_would_do_nothing(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    monkeypatch.setattr("os.environ", {})
    what, fix = push_refused(flag, "https://127.0.0.1")
    assert what == f"{flag} does nothing, because push is off"
    assert CREDENTIALS in fix


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:443", "http://127.0.0.1", "https://", "https:///path", "https://:443"),
        *("https://a:b@127.0.0.1", "https://a:99999", "https://a:x", "https://a:0", "https://["),
        *("https://a?b", "https://a#b", "https://a b", "https://a\nb", "https://\xe9"),
    ],
)
@pytest.mark.parametrize("flag", ["--push-endpoint", "--push-token-url"])
def test_a_url_that_is_none(monkeypatch: pytest.MonkeyPatch, flag: str, url: str) -> None:
    monkeypatch.setattr("os.environ", {CREDENTIALS: broken()})
    what, _ = push_refused(f"{flag}={url}")
    assert what == f"{flag} is not an https URL without user, query and fragment"


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_that_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    monkeypatch.setattr("os.environ", {CREDENTIALS: broken()})
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    what, fix = push_refused("--push-ca-file", str(file))
    assert what.startswith(f"--push-ca-file '{file}'")
    assert "PEM certificates" in fix


# -- parts ----------------------------------------------------------------------------------


async def test_an_access_token_is_renewed_a_minute_before_it_expires() -> None:
    async with google() as fake:
        push = fake.push()
        client, now = HttpsClient(push.ca_file, 10), 1000.0
        tokens = AccessTokens(push.account, push.token_url, client, 60, lambda: now)
        assert await tokens.get() == f"{ACCESS}1"
        now += 3538.9
        assert await tokens.get() == f"{ACCESS}1"
        now += 0.2
        assert await tokens.get() == f"{ACCESS}2"
        assert await tokens.get(rejected=f"{ACCESS}1") == f"{ACCESS}2"
        assert await tokens.get(rejected=f"{ACCESS}2") == f"{ACCESS}3"
        await tokens.close()
        await client.close()


async def test_one_who_waits_for_a_token_may_give_up() -> None:
    async with google() as fake:
        fake.on_token = fake.wait
        push = fake.push()
        client = HttpsClient(push.ca_file, 10)
        tokens = AccessTokens(push.account, push.token_url, client, 60, lambda: 0)
        one, other = (asyncio.create_task(tokens.get()) for _ in range(2))
        async with asyncio.timeout(40):
            while not fake.calls:
                await asyncio.sleep(0.001)
        one.cancel()
        await asyncio.wait({one})
        fake.go.set()
        assert await other == f"{ACCESS}1"
        assert one.cancelled()
        await client.close()


async def test_cookies_are_not_kept() -> None:
    seen: list[str | None] = []

    async def baker(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"})

    async with google() as fake:
        fake.on_token = baker
        client = HttpsClient(fake.push().ca_file, 10)
        for _ in range(2):
            await client.post(f"https://localhost:{fake.port}/token", {}, b"")
        assert seen == [None, None]
        await client.close()


async def test_an_assertion_that_has_expired_is_not_honoured() -> None:
    """Shows that the server of these tests looks."""
    async with google() as fake:
        push = fake.push()
        client = HttpsClient(push.ca_file, 10)
        tokens = AccessTokens(push.account, push.token_url, client, 60, lambda: 0, lambda: 1e9)
        with pytest.raises(Exception, match=r"^HTTP 400 INVALID_GRANT$"):
            await tokens.get()
        assert len(fake.refused) == 1
        await client.close()


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        (b'{"error":{"status":"NOT_FOUND","details":[{"errorCode":"UNREGISTERED"}]}}', 2),
        (b'{"error":{"status":"A","details":[{"reason":"B"},{"reason":"A"},{}]}}', 2),
        (b'{"error":{"details":[{"reason":"A"},{"reason":"B"},{"reason":"C"},{"reason":"D"}]}}', 4),
        (b'{"error":{"status":"NOT_FOUND","details":5}}', 0),
        (b'{"error":{"status":"lower case"}}', 0),
        (b'{"error":{"status":"A\\nB"}}', 0),
        (b'{"error":{"status":"A\\n"}}', 0),
        (b'{"error":"invalid_grant"}', 1),
        (b'{"error":"secret_word"}', 0),
        (b'{"error":null}', 0),
        (b"\xff", 0),
        (b"", 0),
        (b'{"error":' * 9000, 0),
    ],
)
def test_reason_codes(body: bytes, codes: int) -> None:
    assert len(reason_codes(body)) == codes


# -- the whole command ----------------------------------------------------------------------


async def until_ended(relay: RelayProcess, count: int) -> str:
    """The page of metrics once ``count`` wakes have ended."""
    page = ""
    for _ in range(500):
        page = await relay.get(relay.metrics_port, "/metrics")
        values = [
            float(line.split()[1])
            for line in page.splitlines()
            if line.startswith("pyrycode_relay_push_wakes_total{")
        ]
        assert len(values) == 5
        if sum(values) == count:
            break
    else:
        pytest.fail(page)
    return page


def wake(binary: Peer) -> None:
    binary.send_json({"push_wake": {"platform": "fcm", "token": DEVICE}})


async def test_no_output_of_the_command_shows_a_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CREDENTIALS, json.dumps(key_file()))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # not looked at
    authority, log = tmp_path / "ca.pem", tmp_path / "log"
    authority.write_text(authority_pem())
    async with google() as fake:
        flags = ("--push-endpoint", fake.url, "--push-token-url", fake.token_url)
        flags += ("--push-ca-file", str(authority), "--log-level", "debug")
        async with relay_process(log, *flags, "--upgrade-burst", "0") as relay:
            assert " push=on" in relay.log
            handlers = [
                *(fake.send, answer(404, "UNREGISTERED", "NOT_FOUND"), answer(400), fake.endless),
                *(answer(401), answer(403, DEVICE, ACCESS), answer(500), fake.redirect, fake.send),
            ]
            page = ""
            for number, handler in enumerate(handlers):
                fake.on_send = handler
                headers = {"X-Pyrycode-Server": f"s{number}", "X-Pyrycode-Version": "1"}
                async with await open_peer(relay.port, "/v1/server", headers) as binary:
                    wake(binary)
                    page = await until_ended(relay, number + 1)
            fake.on_token = answer(400)  # says back all it was sent
            fake.valid.clear()
            async with await open_peer(relay.port, "/v1/server", headers) as binary:
                wake(binary)
                binary.send_json({"push_wake": {"platform": DEVICE, "token": DEVICE}})
                page = await until_ended(relay, len(handlers) + 2)
            assert 'outcome="sent"} 3.0' in page
            assert 'outcome="token_fetch_failed"} 1.0' in page
            fake.on_send = fake.wait
        everything = log.read_text() + page
        assert "push_wake_send_failed" in everything
        assert "Traceback" not in everything
        assert not [secret for secret in secrets() if secret in everything], everything


DEAF_RESOLVER = """
import socket, sys, time
look_up = socket.getaddrinfo
def deaf(host, *rest, **options):
    if host.endswith(".invalid"):
        time.sleep(60)
    return look_up(host, *rest, **options)
socket.getaddrinfo = deaf
from fastrelay.cli import main
sys.exit(main(sys.argv[1:]))
"""


async def test_a_name_lookup_that_hangs_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CREDENTIALS, json.dumps(key_file()))
    port, log = free_port(), tmp_path / "log"
    flags = ("--insecure-listen", f"127.0.0.1:{port}", "--metrics-listen", "")
    flags += ("--push-token-url", "https://push.invalid")
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", DEAF_RESOLVER, *flags, stderr=stderr
        )
    try:
        async with asyncio.timeout(40):
            while "starting" not in log.read_text():
                await asyncio.sleep(0.01)
            headers = {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1"}
            async with await open_peer(port, "/v1/server", headers) as binary:
                wake(binary)
                binary.send(client_frame(b"", PING))
                assert (await binary.frame()).opcode == PONG  # so the wake was seen
            for said in ("draining", "shutdown complete"):
                process.terminate()
                while said not in log.read_text():
                    await asyncio.sleep(0.01)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "err=SHUTDOWN" in log.read_text()
    assert "Traceback" not in log.read_text()
