"""A server that behaves as Google's two endpoints do, over HTTPS on loopback.

What it is sent is checked with other means than the relay uses: the assertion's signature by
taking the JWT apart by hand.
"""

import asyncio
import atexit
import base64
import functools
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trustme
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fastrelay.config.service_account import read_service_account
from fastrelay.config.settings import Push, ServiceAccount

PROJECT = "wake-project-1"
EMAIL = "relay@wake-project-1.iam.gserviceaccount.com"
KEY_ID = "0123456789abcdef0123456789abcdef01234567"
DEVICE = "dEvIcE-SeCrEt:APA91bHPRgkF3JUikC4ENAHEeMrd41Zxv3hVZjC9KtT8OvPVGJ"
ACCESS = "ya29.c.AcCeSs-SeCrEt-"
"""What every access token issued here begins with."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@functools.cache
def account_key() -> rsa.RSAPrivateKey:
    """The service account's key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any) -> str:
    """A private key as Google writes it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_file(**changes: Any) -> dict[str, Any]:
    """A service account's JSON key, as downloaded."""
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": KEY_ID,
        "private_key": pem(account_key()),
        "client_email": EMAIL,
        "client_id": "117",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "universe_domain": "googleapis.com",
    } | changes


@functools.cache
def account() -> ServiceAccount:
    """The service account, read once: checking a key takes a while."""
    return read_service_account(json.dumps(key_file()))


def secrets() -> list[str]:
    """What may be seen nowhere: the device's token, access tokens, every line of the key."""
    lines = [line for line in pem(account_key()).splitlines() if "-----" not in line]
    return [DEVICE, ACCESS, KEY_ID, *lines]


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


def authority_pem() -> str:
    """The certificate to trust."""
    return _authority().cert_pem.bytes().decode()


@functools.cache
def _authority_file() -> str:
    """It in a file, which is there as long as this process."""
    file = tempfile.NamedTemporaryFile("w", suffix=".pem")  # noqa: SIM115 - see above
    atexit.register(file.close)
    file.write(authority_pem())
    file.flush()
    return file.name


def server_tls(host: str = "127.0.0.1") -> ssl.SSLContext:
    """A server's side of TLS, with a certificate for the address ``host`` and for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert(host, "localhost").configure_cert(context)
    return context


def answer(status: int, code: str = "", error: str = "") -> Handler:
    """Says no as FCM does; its message quotes what it was sent."""

    async def handler(request: web.Request) -> web.Response:
        details = [
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{}]},
            {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code},
        ]
        body = {
            "error": {
                "code": status,
                "message": f"{await request.text()} {request.headers.get('Authorization')}",
                "status": error,
                "details": details if code else [],
            }
        }
        return web.json_response(body, status=status)

    return handler


class Google:
    """The running server.

    Attributes:
        on_token, on_send: what the endpoints do; well-behaved unless a test says otherwise.
        expires_in: of the access tokens issued.
        grants: claims of the assertions that were honoured.
        refused: why a request was not honoured, one entry each.
        messages: those accepted, by device token.
        valid: access tokens honoured.
        calls: paths of all requests.
        in_flight, most_in_flight: sends being served.
    """

    def __init__(self) -> None:
        self.on_token: Handler = self.token
        self.on_send: Handler = self.send
        self.expires_in = 3599
        self.grants: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.messages: list[str] = []
        self.valid: set[str] = set()
        self.calls: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.port = 0
        self.go = asyncio.Event()
        self.dropped = asyncio.Event()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    def push(self, **changes: Any) -> Push:
        """Settings that point here."""
        given = {
            "account": account(),
            "endpoint": self.url,
            "token_url": self.token_url,
            "ca_file": _authority_file(),
        }
        return Push(**given | changes)

    # -- what Google does ---------------------------------------------------------------------

    async def token(self, request: web.Request) -> web.Response:
        """Grant a token for an assertion that holds."""
        form = await request.post()
        try:
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            claims = self._verified(str(form["assertion"]))
        except (AssertionError, InvalidSignature, KeyError, ValueError) as error:
            self.refused.append(repr(error))
            return web.json_response(
                {"error": "invalid_grant", "error_description": form.get("assertion")}, status=400
            )
        self.grants.append(claims)
        token = f"{ACCESS}{len(self.grants)}"
        self.valid.add(token)
        return web.json_response(
            {"access_token": token, "expires_in": self.expires_in, "token_type": "Bearer"}
        )

    def _verified(self, assertion: str) -> dict[str, Any]:
        signed, _, signature = assertion.rpartition(".")
        header, claims = (json.loads(_unbase64(part)) for part in signed.split("."))
        assert header == {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}, header
        account_key().public_key().verify(
            _unbase64(signature), signed.encode(), padding.PKCS1v15(), SHA256()
        )
        assert set(claims) == {"iss", "scope", "aud", "iat", "exp"}, claims
        assert claims["iss"] == EMAIL
        assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        assert claims["aud"] == "https://oauth2.googleapis.com/token"
        assert claims["iat"] <= time.time() < claims["exp"] <= claims["iat"] + 3600, claims
        return claims

    async def send(self, request: web.Request) -> web.Response:
        """Accept a message that wakes and says nothing."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or token not in self.valid:
            return web.json_response({"error": {"status": "UNAUTHENTICATED"}}, status=401)
        body = await request.json()
        device = body.get("message", {}).get("token")
        wanted = {"message": {"token": device, "android": {"priority": "HIGH"}}}
        if body != wanted or not device or request.content_type != "application/json":
            self.refused.append(json.dumps(body))
            return web.json_response({"error": {"status": "INVALID_ARGUMENT"}}, status=400)
        self.messages.append(device)
        return web.json_response({"name": f"projects/{PROJECT}/messages/{len(self.messages)}"})

    # -- what else may happen -----------------------------------------------------------------

    async def wait(self, request: web.Request) -> web.StreamResponse:
        """Say nothing until ``go``, then behave."""
        await self.go.wait()
        return await (self.token if request.path == "/token" else self.send)(request)

    async def endless(self, request: web.Request) -> web.StreamResponse:
        """A good status, and a body that does not end; sets ``dropped`` when hung up on."""
        response = web.StreamResponse(status=200)
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 65536)
                await asyncio.sleep(0)  # writing to a connection that has ended does not wait
        finally:
            self.dropped.set()

    async def dribble(self, request: web.Request) -> web.StreamResponse:
        """A good status, and a body of which a byte comes now and then."""
        response = web.StreamResponse(status=200)
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    async def redirect(self, request: web.Request) -> web.Response:
        """Elsewhere: 307 would bring the body along."""
        raise web.HTTPTemporaryRedirect(f"{self.url}/elsewhere")

    # -- serving ------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(request.path)
        if request.path == "/token":
            return await self.on_token(request)
        if request.path != f"/v1/projects/{PROJECT}/messages:send":
            return web.Response(status=404)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self.on_send(request)
        finally:
            self.in_flight -= 1


def _unbase64(text: str) -> bytes:
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@asynccontextmanager
async def google(tls: ssl.SSLContext | None = None) -> AsyncIterator[Google]:
    """A server in the test's loop; every request it gets is a POST."""
    fake = Google()
    app = web.Application()
    app.router.add_post("/{path:.*}", fake._serve)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls or server_tls())
    await site.start()
    fake.port = runner.addresses[0][1]
    try:
        yield fake
    finally:
        fake.go.set()
        await runner.cleanup()
