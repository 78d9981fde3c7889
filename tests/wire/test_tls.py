"""TLS: who is let in, what a certificate's replacement does, and how it ends."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fastrelay.config.settings import TlsFiles
from fastrelay.net.tls.certificates import Certificates, UnusableCertificate
from fastrelay.tools.probe.command import main as probe
from tests.support.certificates import authority, local_certificate
from tests.support.harness import running_relay
from tests.support.peer import HttpClient, client_frame, open_http, open_peer, request


def client_context(**versions: ssl.TLSVersion) -> ssl.SSLContext:
    """A client's context that insists on these versions."""
    fresh = authority().context()
    for name, version in versions.items():
        setattr(fresh, name, version)
    return fresh


def session_of(client: HttpClient) -> ssl.SSLObject:
    """What was negotiated."""
    found: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
    return found


# -- who is let in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_with_forward_secrecy(version: ssl.TLSVersion) -> None:
    context = client_context(minimum_version=version, maximum_version=version)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with running_relay(tls=local_certificate()) as relay:
        client = relay.own(await open_http(relay.port, context))
        session = session_of(client)
        assert session.version() == version.name.replace("_", ".")
        assert session.selected_alpn_protocol() == "http/1.1"
        cipher = session.cipher()
        assert cipher is not None
        assert cipher[0].startswith(("ECDHE", "TLS_"))
        client.send(request("/healthz"))
        assert (await client.response())[0] == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_ticket_is_given_and_nothing_is_resumed_from_one(
    version: ssl.TLSVersion,
) -> None:
    context = client_context(minimum_version=version, maximum_version=version)
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    async with running_relay(tls=local_certificate()) as relay:
        with await asyncio.to_thread(visit, relay.port, context) as first:
            assert first.session
            assert not first.session.has_ticket
            session = first.session
        if version is ssl.TLSVersion.TLSv1_3:
            with await asyncio.to_thread(visit, relay.port, context, session) as again:
                assert not again.session_reused


def visit(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """A client's connection that has had an answer: by then a ticket would have come."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    client = context.wrap_socket(sock, server_hostname="127.0.0.1", session=session)
    client.sendall(request("/healthz"))
    assert client.recv(4096).startswith(b"HTTP/1.1 200")
    return client


@pytest.mark.parametrize(
    ("suite", "welcome"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", True),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
        ("ECDHE-ECDSA-AES128-SHA256", False),
        ("ECDHE-ECDSA-AES256-SHA", False),
    ],
)
async def test_a_suite_without_aead_is_refused(suite: str, welcome: bool) -> None:
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(suite)
    async with running_relay(tls=local_certificate()) as relay:
        if welcome:
            cipher = session_of(relay.own(await open_http(relay.port, context))).cipher()
            assert cipher
            assert cipher[0] == suite
        else:
            with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
                await open_http(relay.port, context)


@pytest.mark.parametrize("name", ["127.0.0.1", "relay.example.org", "other.example.org", None])
async def test_whatever_name_is_asked_for_the_one_certificate_is_shown(name: str | None) -> None:
    context = client_context()
    context.check_hostname = False
    async with running_relay(tls=local_certificate()) as relay:
        streams = await asyncio.open_connection(
            *("127.0.0.1", relay.port), ssl=context, server_hostname=name or ""
        )
        shown = session_of(relay.own(HttpClient(*streams))).getpeercert()
        assert shown
        assert ("IP Address", "127.0.0.1") in shown["subjectAltName"]


async def test_older_versions_are_refused() -> None:
    async with running_relay(tls=local_certificate()) as relay:
        code = await asyncio.to_thread(old_handshake, relay.port)
        assert code != 0
        await relay.until(lambda: relay.pending == 0)


def old_handshake(port: int) -> int:
    """Try TLS 1.1 with a client that would speak it."""
    openssl = shutil.which("openssl")
    assert openssl
    command = (openssl, "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_1")
    options = ("-cipher", "ALL:@SECLEVEL=0")
    return subprocess.run(
        [*command, *options], input=b"", capture_output=True, timeout=10
    ).returncode


async def test_clear_text_is_dropped_unanswered() -> None:
    async with running_relay(tls=local_certificate()) as relay:
        client = relay.own(await open_http(relay.port))
        client.send(request("/healthz"))
        assert await client.at_eof()


async def test_a_handshake_that_stalls_is_dropped() -> None:
    async with running_relay(tls=local_certificate(), intervals={"head": 0.05}) as relay:
        silent, slow = [relay.own(await open_http(relay.port)) for _ in range(2)]
        slow.send(b"\x16\x03\x01\x02\x00")
        assert await silent.at_eof()
        assert await slow.at_eof()


async def test_a_hello_in_single_bytes_is_a_hello() -> None:
    async with running_relay(tls=local_certificate()) as relay:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = authority().client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
        client = relay.own(await open_http(relay.port))
        for byte in outgoing.read():
            client.send(bytes((byte,)))
            await client.writer.drain()
        incoming.write(await client.reader.read(65536))
        session.do_handshake()
        session.write(request("/healthz"))
        client.send(outgoing.read())
        incoming.write(await client.reader.read(65536))
        assert session.read(12) == b"HTTP/1.1 200"


async def test_a_broken_record_ends_the_connection() -> None:
    async with running_relay(tls=local_certificate()) as relay:
        sock = socket.create_connection(("127.0.0.1", relay.port))
        tls = await asyncio.to_thread(
            authority().client.wrap_socket, sock, server_hostname="127.0.0.1"
        )
        descriptor = tls.detach()
        with socket.socket(fileno=descriptor) as raw:
            raw.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(raw, b"\x17\x03\x03\x00\x20" + b"\0" * 32)
            async with asyncio.timeout(40):
                while await asyncio.get_running_loop().sock_recv(raw, 4096):
                    pass
        await relay.until(lambda: relay.pending == 0)


async def test_the_relay_says_goodbye() -> None:
    async with running_relay(tls=local_certificate()) as relay:
        binary = await relay.binary()
        await binary.say_goodbye()  # a truncated stream would raise here
        assert binary.reader.at_eof()


async def test_frames_of_256_kib_in_a_burst_and_byte_for_byte() -> None:
    async with running_relay(tls=local_certificate()) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        frames = [b'"%d%b"' % (number, b"x" * 262_100) for number in range(8)]
        phone.send(b"".join(map(client_frame, frames)))
        for frame in frames:
            envelope = await binary.text()
            assert envelope.endswith(b'"frame":' + frame + b"}")


async def test_a_paused_phone_goes_on_where_it_was() -> None:
    """What came while it was not read waits as ciphertext, and is read when it may be."""
    async with running_relay(tls=local_certificate()) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        phone.send_text("0")
        await binary.json()
        connection = relay.phones_of("s1")[0].connection
        connection.pause_reading()
        for number in range(1, 400):
            phone.send_text(b"%d" % number)
        await asyncio.sleep(0.05)
        connection.resume_reading()
        assert [(await binary.json())["frame"] for _ in range(1, 400)] == list(range(1, 400))


async def test_the_probe_passes(tmp_path: Path) -> None:
    ca_file = authority().write(tmp_path / "ca.pem")
    async with running_relay(tls=local_certificate()) as relay:
        arguments = [relay.url, "--ca-file", str(ca_file)]
        assert await asyncio.to_thread(probe, arguments) == 0
        assert await asyncio.to_thread(probe, [relay.url, "--timeout", "2"]) == 1  # not trusted


# -- certificates ----------------------------------------------------------------------------------


def put(source: TlsFiles, target: TlsFiles) -> None:
    """Replace the files of ``target``, both at once as far as that goes."""
    for name in ("key", "certificate"):
        beside = getattr(target, name).with_suffix(".new")
        shutil.copyfile(getattr(source, name), beside)
        beside.replace(getattr(target, name))


async def serial(port: int) -> str:
    """Serial number of the certificate shown to a new client."""
    client = await open_http(port, authority().client)
    certificate = session_of(client).getpeercert()
    await client.close()
    assert certificate
    return str(certificate["serialNumber"])


async def test_a_changed_certificate_is_taken_up_and_connections_stay(tmp_path: Path) -> None:
    files = authority().issue(tmp_path)
    async with running_relay(tls=files, intervals={"certificate_check": 0.02}) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        before = await serial(relay.port)
        put(authority().issue(tmp_path, name="next"), files)
        await relay.until(lambda: relay.log_of("certificate_installed"))
        assert await serial(relay.port) != before
        phone.send_text("1")
        assert (await binary.json())["frame"] == 1


async def test_a_reload_reads_them_again(tmp_path: Path) -> None:
    files = authority().issue(tmp_path)
    async with running_relay(tls=files) as relay:
        before = await serial(relay.port)
        put(authority().issue(tmp_path, name="next"), files)
        relay.relay.listeners.reload()
        await relay.until(lambda: relay.log_of("certificate_installed"))
        assert await serial(relay.port) != before


@pytest.mark.parametrize("fault", ["garbage", "missing", "another key", "empty"])
async def test_a_broken_new_pair_is_refused_and_the_old_stays(tmp_path: Path, fault: str) -> None:
    files = authority().issue(tmp_path)
    async with running_relay(tls=files) as relay:
        binary, phone = await relay.binary(), await relay.phone()
        before = await serial(relay.port)
        spoil(files, fault)
        relay.relay.listeners.reload()
        await relay.until(lambda: relay.log_of("certificate_refused"))
        (line,) = relay.log_of("certificate_refused")
        assert "PRIVATE KEY" not in line
        assert await serial(relay.port) == before
        phone.send_text("1")
        assert (await binary.json())["frame"] == 1


async def test_one_file_is_replaced_before_the_other(tmp_path: Path) -> None:
    files, fresh = authority().issue(tmp_path), authority().issue(tmp_path, name="next")
    async with running_relay(tls=files, intervals={"certificate_check": 0.02}) as relay:
        before = await serial(relay.port)
        shutil.copyfile(fresh.certificate, files.certificate)
        await relay.until(lambda: relay.log_of("certificate_refused"))
        assert await serial(relay.port) == before
        shutil.copyfile(fresh.key, files.key)
        await relay.until(lambda: relay.log_of("certificate_installed"))
        assert await serial(relay.port) != before


def spoil(files: TlsFiles, fault: str) -> None:
    if fault == "garbage":
        files.certificate.write_bytes(
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
        )
    elif fault == "missing":
        files.key.unlink()
    elif fault == "another key":
        files.key.write_bytes(authority().issue(files.key.parent, name="x").key.read_bytes())
    else:
        files.certificate.write_bytes(b"")


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    files = authority().issue(tmp_path, until=datetime(2020, 1, 2, tzinfo=UTC))
    certificates = Certificates()
    with pytest.raises(UnusableCertificate, match="it has expired"):
        certificates.install(files.certificate, files.key)
    assert certificates.context is None


def test_an_encrypted_key_is_refused_without_asking(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    assert openssl
    files = authority().issue(tmp_path)
    locked = tmp_path / "locked.key"
    subprocess.run(
        (
            *(openssl, "ec", "-in", str(files.key), "-aes256"),
            *("-passout", "pass:secret", "-out", str(locked)),
        ),
        check=True,
        capture_output=True,
    )
    with pytest.raises(UnusableCertificate, match="encrypted"):
        Certificates().install(files.certificate, locked)


def test_the_expiry_is_known() -> None:
    certificates = Certificates()
    certificates.install(local_certificate().certificate, local_certificate().key)
    assert certificates.expires > 1_700_000_000


async def test_connections_wait_for_the_first_certificate(tmp_path: Path) -> None:
    files = authority().issue(tmp_path)
    async with running_relay(tls=files) as relay:
        certificates = relay.relay.listeners.certificates
        context, certificates.context = certificates.context, None
        early = asyncio.create_task(
            open_peer(
                relay.port,
                "/v1/server",
                {"X-Pyrycode-Server": "s1", "X-Pyrycode-Version": "1"},
                tls=authority().client,
            )
        )
        await relay.until(lambda: certificates.waiting)
        gone = await open_http(relay.port)
        await relay.until(lambda: len(certificates.waiting) == 2)
        await gone.close()
        await relay.until(lambda: len(certificates.waiting) == 1)
        assert context is not None
        certificates.install(files.certificate, files.key)
        relay.own(await early)
        assert not certificates.waiting


async def test_who_waits_too_long_for_it_is_dropped() -> None:
    async with running_relay(tls=local_certificate(), intervals={"head": 0.05}) as relay:
        relay.relay.listeners.certificates.context = None
        client = relay.own(await open_http(relay.port))
        assert await client.at_eof()
        assert not relay.relay.listeners.certificates.waiting
