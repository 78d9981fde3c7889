"""Settings survive the way to another process, whatever is set."""

from dataclasses import fields, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from fastrelay.config.serialised import from_json, to_json
from fastrelay.config.settings import (
    Acme,
    Address,
    Intervals,
    Limits,
    Push,
    Renewed,
    ServiceAccount,
    Settings,
    TlsFiles,
)

ACCOUNT = ServiceAccount(
    project_id="p", client_email="a@b", private_key="-----\nkey\n", private_key_id=""
)
EVERYTHING = Settings(
    listen=Address("::1", 1),
    tls=TlsFiles(certificate=Path("/a b/c.pem"), key=Path("k")),
    proxy_headers=(),
    metrics_listen=Address("127.0.0.1", 2),
    trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
    push=Push(account=ACCOUNT, endpoint="https://e", token_url="https://t", ca_file="f"),
    intervals=Intervals(grace=0.25),
    limits=Limits(phones=3),
    workers=3,
    supervised=True,
    log_level="debug",
    log_format="json",
    unknown_variables=("FASTRELAY_PORT",),
)
ACME = Acme(
    domain="relay.example", http_listen=Address("", 80), cache=Path("c"), directory="https://ca"
)

RENEWED = Renewed(domain="relay.example", file=Path("c/relay.example.pem"))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(listen=Address("", 1)),
        EVERYTHING,
        replace(EVERYTHING, tls=ACME),
        replace(EVERYTHING, tls=RENEWED),
    ],
)
def test_they_come_back_as_they_were(settings: Settings) -> None:
    back = from_json(to_json(settings))
    assert back == settings
    for field in fields(Settings):
        assert type(getattr(back, field.name)) is type(getattr(settings, field.name))


def test_this_test_sets_everything() -> None:
    plain = Settings(listen=Address("", 1))
    same = [
        f.name for f in fields(Settings) if getattr(plain, f.name) == getattr(EVERYTHING, f.name)
    ]
    assert same == []
