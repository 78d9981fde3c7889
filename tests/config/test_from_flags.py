"""Flags and environment: every configuration that is refused, and what the others mean."""

import os
from ipaddress import ip_network
from pathlib import Path

import pytest

from fastrelay.config.errors import ConfigurationError
from fastrelay.config.flags import PRODUCTION, SINGLE_INSTANCE
from fastrelay.config.from_flags import read_settings
from fastrelay.config.settings import Acme, Address, Settings, TlsFiles
from fastrelay.config.sources import read_options

PLAIN = ("--insecure-listen", "127.0.0.1:8080")
FILES = ("--tls-cert", "c.pem", "--tls-key", "k.pem")
DOMAIN = ("--domain", "relay.example.org")


def read(*arguments: str, **environment: str) -> Settings:
    return read_settings(read_options(arguments, environment), environment)


# -- modes -----------------------------------------------------------------------------------------


def test_plain_is_plain() -> None:
    settings = read(*PLAIN)
    assert (settings.listen, settings.tls) == (Address("127.0.0.1", 8080), None)
    assert settings.proxy_headers is None


def test_files() -> None:
    settings = read(*FILES, "--https-proxy-protocol", "--proxy-protocol-from", "10.0.0.0/8")
    assert settings.listen == Address("", 443)
    assert settings.tls == TlsFiles(certificate=Path("c.pem"), key=Path("k.pem"))
    assert settings.proxy_headers == (ip_network("10.0.0.0/8"),)
    assert read(*FILES, "--https-proxy-protocol").proxy_headers == ()


def test_domain() -> None:
    acme = read("--domain", "Relay.Example.ORG", "--acme-email", "a@b.test").tls
    assert isinstance(acme, Acme)
    assert acme.domain == "relay.example.org"
    assert acme.http_listen == Address("", 80)
    assert acme.cache == Path("~/.fastrelay/certs").expanduser()
    assert acme.directory.startswith("https://acme-v02.api.letsencrypt.org/")
    assert (acme.email, acme.ca_file) == ("a@b.test", None)


REFUSED = {
    "two modes": ((*PLAIN, *DOMAIN), "exclude one another"),
    "files and plain": ((*PLAIN, *FILES), "exclude one another"),
    "files and domain": ((*FILES, *DOMAIN), "exclude one another"),
    "a certificate without a key": (("--tls-cert", "c"), "--tls-key is missing"),
    "a key without a certificate": (("--tls-key", "k"), "--tls-cert is missing"),
    **{
        f"plain with {flag[0]}": ((*PLAIN, *flag), f"{flag[0]} does nothing")
        for flag in (
            ("--https-listen", ":443"),
            ("--http-listen", ":80"),
            ("--cert-cache", "d"),
            ("--acme-directory", "https://x"),
            ("--acme-email", "e@x"),
            ("--acme-ca-file", "f"),
            ("--https-proxy-protocol",),
            ("--proxy-protocol-from", "10.0.0.0/8"),
        )
    },
    **{
        f"files with {flag[0]}": ((*FILES, *flag), f"{flag[0]} does nothing")
        for flag in (
            ("--http-listen", ":80"),
            ("--cert-cache", "d"),
            ("--acme-directory", "https://x"),
            ("--acme-email", "e@x"),
            ("--acme-ca-file", "f"),
        )
    },
    "networks without headers": ((*FILES, "--proxy-protocol-from", "10.0.0.0/8"), "does nothing"),
    "a domain of one word": (("--domain", "localhost"), "is not a domain name"),
    "an address": (("--domain", "192.0.2.1"), "is not a domain name"),
    "a URL": (("--domain", "https://relay.example.org"), "is not a domain name"),
    "a CA over http": ((*DOMAIN, "--acme-directory", "http://ca"), "is not an https URL"),
    "no CA": ((*DOMAIN, "--acme-directory", ""), "is not an https URL"),
    "no such CA file": ((*DOMAIN, "--acme-ca-file", "/nowhere"), "No such file"),
    "no CA file": ((*DOMAIN, "--acme-ca-file", ""), "names no file"),
    "a CA file without certificates": ((*DOMAIN, "--acme-ca-file", "/dev/null"), "no certificate"),
    "no cache": ((*DOMAIN, "--cert-cache", ""), "names no directory"),
    "a cache in nobody's home": ((*DOMAIN, "--cert-cache", "~nobody-here/c"), "no such home"),
    "no address for TLS": ((*DOMAIN, "--https-listen", ""), "is not HOST:PORT"),
    "no address for challenges": ((*DOMAIN, "--http-listen", ""), "is not HOST:PORT"),
    "port 0": ((*DOMAIN, "--https-listen", ":0"), "--https-listen"),
}


@pytest.mark.parametrize(("arguments", "what"), REFUSED.values(), ids=REFUSED)
def test_refused(arguments: tuple[str, ...], what: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(*arguments)
    assert what in refused.value.what
    assert refused.value.fix
    assert "\n" not in refused.value.what + refused.value.fix


def test_domain_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="needs the extra acme") as refused:
        read(*DOMAIN)
    assert "pip install 'PATH[acme]'" in refused.value.fix


# -- environment -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [PRODUCTION, SINGLE_INSTANCE])
@pytest.mark.parametrize("value", ["", "0", "true", "s3cret"])
def test_a_switch_is_1_or_unset(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as refused:
        read(*FILES, **{name: value})
    assert not value or value not in (refused.value.what + refused.value.fix).split()


def test_production_refuses_plain_http() -> None:
    with pytest.raises(ConfigurationError, match="--insecure-listen is refused"):
        read(*PLAIN, **{PRODUCTION: "1"})


def test_production_refuses_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigurationError, match="does not run as root"):
        read(*FILES, **{PRODUCTION: "1"})
    assert read(*FILES).tls


def test_a_platform_that_may_run_copies() -> None:
    with pytest.raises(ConfigurationError, match=SINGLE_INSTANCE):
        read(*FILES, FLY_APP_NAME="relay")
    assert read(*FILES, FLY_APP_NAME="relay", **{SINGLE_INSTANCE: "1"}).tls
