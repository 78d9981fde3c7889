"""A CA that means harm: every order ends, and takes bounded time and memory."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from fastrelay.acme.cache import CertificateCache
from fastrelay.acme.issuer import IssuanceFailed, Issuer
from fastrelay.acme.network import MAX_REQUESTS, MAX_RESPONSE_BYTES
from fastrelay.acme.responder import ChallengeResponder
from tests.acme.test_acme import at
from tests.support.google import authority_pem, server_tls
from tests.support.hostile_https import (
    ENDLESS,
    OK,
    HostileServer,
    Sender,
    dribble,
    endless,
    hostile_server,
    whole,
)

KERNEL_BYTES = 8 * 1024 * 1024


def failure(
    directory: Path,
    answer: Callable[[Sender], None],
    timeout: float = 20,
    request_timeout: float = 20,
) -> tuple[str, HostileServer]:
    """Why an order failed, and the CA that it was made at."""
    (directory / "ca.pem").write_text(authority_pem())
    with hostile_server(server_tls(), answer) as server:
        account = replace(at(f"{server.url}/dir"), ca_file=str(directory / "ca.pem"))
        cache = CertificateCache(directory / "cache")
        issuer = Issuer(account, cache, ChallengeResponder(), timeout, request_timeout)
        with pytest.raises(IssuanceFailed) as caught:
            issuer.obtain()
    return str(caught.value), server


@pytest.mark.parametrize("name", list(ENDLESS))
def test_an_endless_answer_is_read_to_the_limit_and_no_further(tmp_path: Path, name: str) -> None:
    why, server = failure(tmp_path, endless(name))
    assert server.sent <= MAX_RESPONSE_BYTES + KERNEL_BYTES
    assert why
    assert "in time" not in why


@pytest.mark.parametrize(("timeout", "request_timeout"), [(20, 0.5), (0.5, 20)])
def test_a_byte_now_and_then_does_not_prolong_an_order(
    tmp_path: Path, timeout: float, request_timeout: float
) -> None:
    why, server = failure(tmp_path, dribble(0.02), timeout, request_timeout)
    assert "in time" in why
    assert server.requests == 1


def test_a_compressed_answer_is_not_unpacked(tmp_path: Path) -> None:
    """Unpacked, it would be a directory, and a nonce would be asked for."""
    names = ("newNonce", "newAccount", "newOrder")
    value = json.dumps(dict.fromkeys(names, "https://127.0.0.1:1/"))
    packed = gzip.compress(value.encode() + b" " * 4_000_000)
    head = OK + b"Content-Encoding: gzip\r\nContent-Type: application/json\r\n"
    why, server = failure(
        tmp_path, whole(head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed)
    )
    assert why.startswith("ClientError: Unexpected response")
    assert server.requests == 1


def test_a_ca_cannot_send_the_relay_on_without_end(tmp_path: Path) -> None:
    """Every request is redirected to the CA again; the library would follow 30 for each."""
    head = b"HTTP/1.1 307 On\r\nLocation: /dir\r\nContent-Length: 0\r\n\r\n"
    why, server = failure(tmp_path, whole(head))
    assert "redirects" in why
    assert server.requests <= 31


def test_a_redirect_to_clear_text_is_refused(tmp_path: Path) -> None:
    head = b"HTTP/1.1 307 On\r\nLocation: http://127.0.0.1/dir\r\nContent-Length: 0\r\n\r\n"
    why, _ = failure(tmp_path, whole(head))
    assert why.startswith(requests.exceptions.InvalidSchema.__name__)


def test_an_order_has_a_bounded_number_of_requests(tmp_path: Path) -> None:
    """An order that lists authorizations without end; each would cost a request."""

    def answer(sender: Sender) -> None:
        base = sender.url
        names = ("newNonce", "newAccount", "newOrder")
        value = {name: f"{base}/{name}" for name in names} | {
            "status": "pending",
            "authorizations": [f"{base}/a"] * 1000,
            "finalize": f"{base}/f",
            "identifiers": [],
            "identifier": {"type": "dns", "value": "relay.example.test"},
            "challenges": [],
        }
        body = json.dumps(value).encode()
        head = OK + b"Content-Type: application/json\r\nReplay-Nonce: bm9uY2U\r\n"
        head += b"Location: %b/x\r\nConnection: close\r\n" % base.encode()
        sender.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    why, server = failure(tmp_path, answer, 120)
    assert "too many requests" in why
    assert server.requests == MAX_REQUESTS
