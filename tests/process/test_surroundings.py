"""What a process finds at its start must not break it: descriptors, variables, signals, sockets."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.support.ports import free_port
from fastrelay.config.settings import Address, Settings
from fastrelay.net.bound_sockets import BindFailed, bind_all
from fastrelay.process.bind_refusals import refusal_of
from fastrelay.process.standard_descriptors import occupy_standard_descriptors
from fastrelay.process.systemd import Notifier
from tests.support.command import COMMAND, refused, started
from tests.support.programs import needs, skip_unless_ci


@contextlib.contextmanager
def relay(
    log: Path, *flags: str, **options: object
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A relay that is ready, and the URL of its metrics; it must end with 0 at SIGTERM."""
    metrics = free_port()
    listen = ("--insecure-listen", f"127.0.0.1:{free_port()}")
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*COMMAND, *listen, "--metrics-listen", f"127.0.0.1:{metrics}", *flags],
            **{"stderr": stderr, **options},  # type: ignore[call-overload]
        )
    try:
        deadline = time.monotonic() + 20
        while not _answers(metrics):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process, f"http://127.0.0.1:{metrics}/metrics"
    finally:
        process.terminate()
        code = process.wait(20)
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


# -- descriptors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_closed_standard_descriptors(tmp_path: Path, closed: tuple[int, ...]) -> None:
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    with relay(tmp_path / "log", preexec_fn=close) as (process, _):
        held = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
        assert not any("socket" in name or "anon_inode" in name for name in held)
        assert all(held[number] == os.devnull for number in closed)


def test_closed_standard_descriptors_without_dev_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "devnull", "/nonexistent/null")
    kept = os.dup(0)
    try:
        os.close(0)
        occupy_standard_descriptors()
        assert "pipe" in os.readlink("/proc/self/fd/0")
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@pytest.mark.parametrize("streams", ["2>/dev/full", ">/dev/full 2>/dev/full", "2>&-", ">&- 2>&-"])
def test_a_refusal_that_cannot_be_printed_exits_2(streams: str) -> None:
    for arguments in ("--insecure-listen bad", "", "probe bad", "top --interval x"):
        command = f"exec {sys.executable} -m fastrelay {arguments} {streams}"
        assert subprocess.run(["sh", "-c", command], timeout=20, check=False).returncode == 2


# -- variables that libraries read -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
@pytest.mark.parametrize("exists", [True, False])
def test_the_directory_of_prometheus_client(tmp_path: Path, name: str, exists: bool) -> None:
    directory = tmp_path / "multiproc"
    if exists:
        directory.mkdir()
    with relay(tmp_path / "log", env=os.environ | {name: str(directory)}):
        pass
    assert not exists or not list(directory.iterdir())


def test_variables_of_libraries(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing" / "file")
    variables = dict.fromkeys(
        ("SSLKEYLOGFILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF", "TMPDIR", "TZ", "NETRC"),
        missing,
    )
    variables |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    variables |= dict.fromkeys(("PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "NO_COLOR"), "1")
    variables |= {"PROMETHEUS_DISABLE_CREATED_SERIES": "1", "LC_ALL": "xx_YY", "COLUMNS": "x"}
    with relay(tmp_path / "log", env=variables):
        pass


def test_keys_of_tls_connections_are_never_written(tmp_path: Path) -> None:
    from fastrelay.process.early import forget_misleading

    environment = {"SSLKEYLOGFILE": "x", "HOME": "/root"}
    forget_misleading(environment)
    assert environment == {"HOME": "/root"}


def test_there_is_no_proc(tmp_path: Path) -> None:
    needs("unshare", "util-linux")
    port, metrics = free_port(), free_port()
    script = f"""
mount -t tmpfs none /proc || exit 77
{sys.executable} -m fastrelay --insecure-listen 127.0.0.1:{port} \
    --metrics-listen 127.0.0.1:{metrics} & relay=$!
{sys.executable} - <<'END'
import time, urllib.request
for _ in range(500):
    try:
        page = urllib.request.urlopen("http://127.0.0.1:{metrics}/metrics", timeout=5).read()
        break
    except OSError:
        time.sleep(0.02)
assert b"pyrycode_relay_connected_phones" in page
END
seen=$?; kill $relay; wait $relay; ended=$?; exit $((seen + ended))
"""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    if done.returncode in (1, 77) and "not permitted" in done.stderr:
        skip_unless_ci("this user may not mount")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "internal_error" not in done.stderr


def test_no_core_dump(tmp_path: Path) -> None:
    with relay(tmp_path / "log") as (process, _):
        assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)


# -- signals ---------------------------------------------------------------------------------------

_SLOW_IMPORT = """
import os, sys, types
sys.argv = ["fastrelay", "--insecure-listen", "127.0.0.1:{port}", "--metrics-listen="]
module = types.ModuleType("fastrelay.cli")
def wait():
    print("importing", flush=True)
    import time
    time.sleep(20)
module.main = wait
sys.modules["fastrelay.cli"] = module
from fastrelay.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_anything_is_imported(number: int) -> None:
    command = (sys.executable, "-c", _SLOW_IMPORT.format(port=1))
    with started(*command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(10) == 0


def test_a_signal_to_process_1(tmp_path: Path) -> None:
    needs("unshare", "util-linux")
    code = _SLOW_IMPORT.format(port=1)
    command = ("unshare", "-p", "-f", "--kill-child", sys.executable, "-c", code)
    with started(*command, stdout=subprocess.PIPE) as outer:
        assert outer.stdout
        if outer.stdout.readline() != b"importing\n":
            skip_unless_ci("this user may not make a pid namespace")
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        assert outer.wait(10) == 0


def test_sighup_at_any_time_kills_nothing(tmp_path: Path) -> None:
    """Through the start, the life and the end of a relay; its handler is there from the first."""
    with relay(tmp_path / "log") as (process, _):
        for _ in range(20):
            process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            process.send_signal(signal.SIGHUP)
            time.sleep(0.001)


# -- the notify socket -----------------------------------------------------------------------------


def fill(place: Path) -> None:
    """Send datagrams to a socket until it has no room for another one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.sendto(b"full", str(place))


async def test_notifications_wait_for_room(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        fill(tmp_path / "notify")
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.ready()
        notifier.alive()
        notifier.alive()
        notifier.stopping()
        received = []
        async with asyncio.timeout(40):
            while b"STOPPING=1" not in received:
                try:
                    received.append(systemd.recv(100))
                except BlockingIOError:
                    await asyncio.sleep(0.005)
        await notifier.close()
    assert [message for message in received if message != b"full"] == [
        b"READY=1",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


async def test_a_notify_socket_that_stays_full_holds_up_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        fill(tmp_path / "notify")
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.ready()
        await notifier.close(0.01)


def test_a_watchdog_of_nonsense_is_none() -> None:
    for text in ("-5", "", "1e9", "9" * 5000):
        assert Notifier({"WATCHDOG_USEC": text}).watchdog == 0.0


# -- messages that name the one at fault -----------------------------------------------------------


def test_a_metrics_port_in_use_names_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        what, fix = refused(
            *("--insecure-listen", f"127.0.0.1:{free_port()}"),
            *("--metrics-listen", f"127.0.0.1:{port}"),
        )
    assert what == f"--metrics-listen 127.0.0.1:{port}: cannot listen: Address already in use"
    assert fix.endswith("or name another port with --metrics-listen")


@pytest.mark.parametrize(("port", "is_it"), [(9090, True), (9092, False)])
def test_prometheus_is_suspected_on_its_own_port_alone(port: int, is_it: bool) -> None:
    address = Address("127.0.0.1", port)
    failure = BindFailed("metrics", address)
    failure.__cause__ = OSError(98, "Address already in use")
    fix = refusal_of(failure, Settings(listen=Address("", 1), metrics_listen=address)).fix
    assert ("Prometheus" in fix and "--metrics-listen 127.0.0.1:9091" in fix) is is_it


def test_a_public_port_in_use_names_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        what, fix = refused("--insecure-listen", f"127.0.0.1:{port}", "--metrics-listen", "")
    assert what.startswith(f"--insecure-listen 127.0.0.1:{port}: ")
    assert fix.endswith("with --insecure-listen")


@pytest.mark.parametrize(
    ("host", "fix"),
    [("no.such.name.invalid", "does not resolve"), ("192.0.2.1", "of this machine")],
)
def test_a_name_or_address_that_is_not_ours(host: str, fix: str) -> None:
    what, said = refused("--insecure-listen", f"{host}:{free_port()}", "--metrics-listen", "")
    assert what.startswith(f"--insecure-listen {host}:")
    assert fix in said


def test_a_low_port_without_the_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: object, **options: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", denied)
    settings = Settings(listen=Address("", 443), metrics_listen=None)
    with pytest.raises(BindFailed) as caught:
        bind_all(settings)
    refusal = refusal_of(caught.value, settings)
    assert refusal.what.endswith("Permission denied")
    assert "CAP_NET_BIND_SERVICE" in refusal.fix
