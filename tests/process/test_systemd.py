"""What systemd is told, what it thinks of the shipped unit, and whether the relay lives in it."""

import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE

import pytest

from bench.support.ports import free_port
from fastrelay.config.flags import CREDENTIALS
from fastrelay.process.systemd import Notifier
from tests.support.certificates import authority, local_certificate
from tests.support.command import COMMAND, started
from tests.support.google import key_file
from tests.support.programs import needs
from tests.support.sealed import NOBODY, open_to_all, run_sealed
from tests.support.unit import UNIT, denied_calls, directives

# -- what it is told -------------------------------------------------------------------------------


@contextmanager
def service_manager(address: str) -> Iterator[socket.socket]:
    """A socket that hears what a service says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(20)
        yield systemd


def other_than_alive(systemd: socket.socket) -> bytes:
    """The next notification that is not the watchdog's."""
    while (message := systemd.recv(100)) == b"WATCHDOG=1":
        pass
    return message


def said(process: "subprocess.Popen[str]", event: str) -> str:
    """The next line for ``event``."""
    assert process.stderr
    for line in process.stderr:
        if f"msg={event}" in line:
            return line
    raise AssertionError(f"{event} was not said")


def test_ready_watchdog_reload_and_stopping(tmp_path: Path) -> None:
    files = local_certificate()
    arguments = ("--tls-cert", str(files.certificate), "--tls-key", str(files.key))
    arguments += ("--https-listen", f"127.0.0.1:{free_port()}", "--metrics-listen", "")
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    with service_manager(str(tmp_path / "notify")) as systemd:
        with started(
            *COMMAND,
            *arguments,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        ) as process:
            assert "mode=tls" in said(process, "starting")
            # A supervisor whose workers need long to start is alive before it is ready.
            assert other_than_alive(systemd) == b"READY=1"
            process.send_signal(signal.SIGHUP)
            said(process, "certificate_installed")
            assert systemd.recv(100) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            assert other_than_alive(systemd) == b"STOPPING=1"
            assert process.wait(20) == 0


def test_an_abstract_socket(tmp_path: Path) -> None:
    name = f"fastrelay-{os.getpid()}-{tmp_path.name}"
    with service_manager(f"\0{name}") as systemd:
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert systemd.recv(100) == b"READY=1"


def test_nobody_to_notify(tmp_path: Path) -> None:
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}, 5),
        ({"WATCHDOG_USEC": "5000000"}, 5),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({}, 0),
    ],
)
def test_the_watchdog_is_answered_when_it_asks_us(
    environment: dict[str, str], seconds: float
) -> None:
    assert Notifier(environment).watchdog == seconds


# -- the unit --------------------------------------------------------------------------------------


def test_systemd_finds_the_unit_well_hardened() -> None:
    needs("systemd-analyze", "systemd")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    level = float(judged.stdout.rpartition("exposure level for fastrelay.service: ")[2].split()[0])
    assert level <= 1.5, judged.stdout


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    needs("systemd-analyze", "systemd")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/fastrelay/bin/fastrelay", "/bin/true"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


IN_THE_UNIT = """\
{open_to_all}
mount -t tmpfs -o mode=755 tmpfs /opt
mkdir -p /opt/fastrelay/bin
ln -s {fastrelay} /opt/fastrelay/bin/fastrelay
mount -t tmpfs -o mode=755 tmpfs /var/lib
install -d -o {uid} -g {uid} -m 0700 /var/lib/fastrelay /var/lib/fastrelay/certs
install -o {uid} -g {uid} -m 0600 /etc/kept.pem /var/lib/fastrelay/certs/relay.example.org.pem
mkdir -m 1777 /run/trace
mount -t proc -o {proc} proc /proc
mount -o remount,bind,ro /
cd /
export STATE_DIRECTORY=/var/lib/fastrelay {environment}
setpriv --reuid {uid} --regid {uid} --clear-groups --no-new-privs \
    --bounding-set=-all,{capability} --inh-caps=-all,{capability} --ambient-caps=-all,{capability} \
    strace -D -f --seccomp-bpf -qq -o /run/trace/calls \
    -e trace={denied},mmap,mprotect,pkey_mprotect -e inject={denied}:error=EPERM \
    {command} 2>/run/relay.log &
relay=$!
show() {{ cat /run/relay.log; }}
trap show EXIT
until grep -q msg=certificate_failed /run/relay.log; do kill -0 $relay; sleep 0.05; done
{python} -m fastrelay probe wss://relay.example.org --ca-file /etc/ca.pem
{python} -c 'import urllib.request as u
print(u.urlopen("http://127.0.0.1:9090/metrics", timeout=5).read().decode())'
kill $relay
while kill -0 $relay 2>/dev/null; do sleep 0.05; done
echo; echo the calls:; cat /run/trace/calls
"""


def test_the_relay_lives_within_what_the_unit_allows(tmp_path: Path) -> None:
    """The unit's command as its user: capability, system calls, /proc and files as it says.

    There is no systemd to run it: the filter is strace's, which answers EPERM as the unit does, and
    what ``MemoryDenyWriteExecute`` would refuse is looked for in what was called.
    """
    needs("strace", "strace")
    needs("systemd-analyze", "systemd")
    unit = directives()
    proc = [f"hidepid={value}" for value in unit["ProtectProc"]]
    proc += [f"subset={value}" for value in unit.get("ProcSubset", [])]
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    files = authority().issue(
        tmp_path, "relay.example.org", until=datetime.now(UTC) + timedelta(days=2)
    )
    kept = tmp_path / "kept.pem"  # from an earlier run, and due for a renewal that will fail
    kept.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
    script = IN_THE_UNIT.format(
        open_to_all=open_to_all(),
        fastrelay=Path(sys.executable).with_name("fastrelay"),
        python=sys.executable,
        uid=NOBODY,
        proc=",".join(proc),
        environment=" ".join(unit["Environment"]),
        capability="+net_bind_service",
        denied=",".join(f"?{call}" for call in denied_calls()),
        command=unit["ExecStart"][0],
    )
    ca = authority().write(tmp_path / "ca")
    run = run_sealed(tmp_path, {"kept.pem": kept, "ca.pem": ca}, script)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr
    assert "wss://relay.example.org works" in run.stdout
    assert re.search(r"^process_resident_memory_bytes \d", run.stdout, re.MULTILINE)
    assert 'msg="shutdown complete"' in run.stdout
    assert "Traceback" not in run.stdout
    calls = run.stdout.partition("the calls:")[2]
    assert "mmap(" in calls
    assert not re.findall(r".*INJECTED.*", calls)
    executable = re.findall(r".*mprotect\(.*PROT_EXEC.*|.*mmap\(.*PROT_WRITE\|PROT_EXEC.*", calls)
    assert not executable


def test_the_unit_signals_the_supervisor_alone() -> None:
    assert directives()["KillMode"] == ["mixed"]


def test_the_unit_leaves_no_core_dump() -> None:
    assert directives()["LimitCORE"] == ["0"]


PARSER = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator"
"""It reads files of variables as systemd reads an ``EnvironmentFile=``, and prints them."""


def test_systemd_reads_the_push_credential_as_the_runbook_writes_it(tmp_path: Path) -> None:
    needs(PARSER, "systemd")
    runbook = (UNIT.parents[1] / "runbooks/first-deploy.md").read_text(encoding="utf-8")
    (line,) = (line for line in runbook.splitlines() if line.startswith("    (umask 077"))
    directory = tmp_path / ".config/environment.d"
    directory.mkdir(parents=True)
    file = directory / "push.conf"
    (tmp_path / "key.json").write_text(json.dumps(key_file(), indent=2))
    command = line.replace("/etc/fastrelay.env", shlex.quote(str(file)))
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    output = subprocess.run([PARSER], env={"HOME": str(tmp_path)}, stdout=PIPE, check=True).stdout
    (shown,) = re.findall(rf'^{CREDENTIALS}="(.*)"$', output.decode(), re.MULTILINE)
    value = shown.encode().decode("unicode_escape")
    assert json.loads(value) == key_file()
