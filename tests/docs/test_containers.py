"""Examples for containers and for scraping: valid for the programs that read them, and working."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastrelay.cli import main
from fastrelay.config.from_flags import read_settings
from fastrelay.config.settings import Acme, Intervals, Settings, TlsFiles
from fastrelay.config.sources import read_options
from tests.support.containerfile import stages
from tests.support.programs import needs
from tests.support.sealed import ADDRESS, run_sealed

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES: dict[str, Any] = {
    found["kind"]: found for found in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
}
POD: dict[str, Any] = KUBERNETES["Deployment"]["spec"]["template"]["spec"]


def settings(arguments: list[str], environment: dict[str, str]) -> Settings:
    """What a relay would make of it."""
    return read_settings(read_options(arguments, environment), environment)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What ``fastrelay files`` writes, which is where the examples expect one another."""
    assert main(["files", str(tmp_path / "files")]) == 0
    return tmp_path / "files"


@pytest.mark.parametrize("profile", ["proxy", "tls"])
def test_compose_takes_it(profile: str) -> None:
    needs("docker-compose", "docker-compose")
    command = ["docker-compose", "-f", "compose.yaml", "--profile", profile, "config", "-q"]
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_what_compose_starts(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each relay in each of its two ways understands its command; every mounted file is shipped."""
    monkeypatch.setattr("fastrelay.config.from_flags.check_privileges", lambda production: None)
    services = COMPOSE["services"]
    behind = settings(services["relay"]["command"], {})
    assert behind.tls is None
    assert behind.trusted_proxies
    alone = settings(services["relay-tls"]["command"], services["relay-tls"]["environment"])
    assert isinstance(alone.tls, Acme)
    assert alone.listen.port == 8443
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (files / volume.partition(":")[0]).exists(), (name, volume)
        if service["image"] == "fastrelay":
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert int(service["stop_grace_period"].rstrip("s")) > Intervals().drain


def test_kubernetes_takes_it() -> None:
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "kubernetes.yaml"]
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(KUBERNETES) == 5


def test_what_kubernetes_starts() -> None:
    relay, metrics = POD["containers"]
    environment = {entry["name"]: entry["value"] for entry in relay["env"]}
    found = settings(relay["args"], environment)
    assert found.tls is None
    assert found.trusted_proxies
    assert not found.unknown_variables
    assert POD["terminationGracePeriodSeconds"] > Intervals().drain
    assert KUBERNETES["Deployment"]["spec"]["replicas"] == 1
    assert KUBERNETES["Deployment"]["spec"]["strategy"]["type"] == "Recreate"
    for container in (relay, metrics):
        assert container["securityContext"]["readOnlyRootFilesystem"]
    config = KUBERNETES["ConfigMap"]["data"]["haproxy.cfg"]
    assert config == (DEPLOY / "metrics-proxy.cfg").read_text()
    waits = KUBERNETES["Ingress"]["metadata"]["annotations"].values()
    assert all(int(wait) > Intervals().ping + Intervals().pong for wait in waits)


SCRAPED = """\
{python} -m fastrelay --insecure-listen 127.0.0.1:8080 2>{log} &
until grep -q msg=starting {log}; do sleep 0.05; done
haproxy -db -f /etc/metrics-proxy.cfg &
until curl -s -o /dev/null http://127.0.0.1:9091/; do sleep 0.05; done
curl -sS http://{address}:9091/metrics
for path in /healthz /metrics/x /; do
  curl -s -o /dev/null -w 'refused %{{http_code}}\\n' http://{address}:9091$path
done
curl -s -o /dev/null -w 'refused %{{http_code}}\\n' -X POST http://{address}:9091/metrics
"""


def test_a_relay_is_scraped_from_outside_through_the_sidecar(tmp_path: Path) -> None:
    needs("haproxy", "haproxy")
    needs("curl", "curl")
    run = run_sealed(
        tmp_path,
        {"metrics-proxy.cfg": DEPLOY / "metrics-proxy.cfg"},
        SCRAPED.format(python=sys.executable, log=tmp_path / "log", address=ADDRESS),
    )
    assert "pyrycode_relay_connected_binaries 0.0" in run.stdout, run.stdout + run.stderr
    assert run.stdout.count("refused 403") == 4


@pytest.mark.parametrize("config", ["prometheus.yml", "prometheus-compose.yml"])
def test_prometheus_takes_its_configuration_with_the_rules(config: str, files: Path) -> None:
    needs("promtool", "prometheus")
    command = ["promtool", "check", "config", config]
    done = subprocess.run(command, cwd=files, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
    first = yaml.safe_load((files / config).read_text())["scrape_configs"][0]
    assert first["job_name"] == "fastrelay"


def test_the_build_context_is_what_the_image_copies_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    building = stages()[0]
    copied = {
        source
        for name, arguments in building
        if name == "COPY"
        for source in arguments.split()[:-1]
    }
    for source in copied:
        assert any(source.startswith(entry) or entry.startswith(source) for entry in let_in), source
    assert all((ROOT / entry).exists() for entry in let_in)


def test_the_image_says_what_it_is() -> None:
    (labels,) = [arguments for name, arguments in stages()[1] if name == "LABEL"]
    for label in ("title", "source", "licenses", "documentation"):
        assert f"org.opencontainers.image.{label}=" in labels


# -- the unit behind a proxy, HAProxy's checks -----------------------------------------------------


def with_drop_in(tmp_path: Path, name: str) -> Settings:
    """The settings of the unit with this drop-in, both of which systemd understands."""
    needs("systemd-analyze", "systemd")
    drop_in = (DEPLOY / name).read_text()
    (command,) = re.findall(r"^ExecStart=(\S.*)$", drop_in, re.MULTILINE)
    assert drop_in.index("ExecStart=\n") < drop_in.index(command)
    place = tmp_path / "fastrelay.service.d"
    place.mkdir()
    unit = (DEPLOY / "fastrelay.service").read_text()
    for file, text in ((tmp_path / "fastrelay.service", unit), (place / name, drop_in)):
        file.write_text(text.replace("/opt/fastrelay/bin/fastrelay", "/bin/true"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "fastrelay.service")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "fastrelay" not in verified.stderr, verified.stderr
    return settings(command.split()[1:], {})


def test_the_drop_in_makes_the_unit_one_behind_a_proxy(tmp_path: Path) -> None:
    behind = with_drop_in(tmp_path, "behind-proxy.conf")
    assert behind.tls is None
    assert behind.listen.host == "127.0.0.1"
    assert behind.trusted_proxies
    drop_in = (DEPLOY / "behind-proxy.conf").read_text()
    assert "UnsetEnvironment=PYRYCODE_RELAY_PRODUCTION" in drop_in


def test_the_drop_in_makes_the_unit_one_with_certificates_of_another_program(
    tmp_path: Path,
) -> None:
    """The files are those that the page has copied, for the group that the page creates."""
    files = with_drop_in(tmp_path, "tls-files.conf").tls
    assert isinstance(files, TlsFiles)
    page = (DEPLOY.parent / "deploy.md").read_text()
    (copied,) = re.findall(
        r"^    cd .*&& install -m 0640 -g (\S+) (.*) (/\S+)/$", page, re.MULTILINE
    )
    group, names, directory = copied
    assert {str(files.certificate), str(files.key)} == {f"{directory}/{n}" for n in names.split()}
    assert f"    groupadd --system {group}\n" in page
    assert f"    install -d -m 0750 -g {group} {directory}\n" in page
    assert f"\nSupplementaryGroups={group}\n" in (DEPLOY / "tls-files.conf").read_text()


def test_haproxy_takes_a_relay_that_is_back_within_two_seconds() -> None:
    text = (DEPLOY / "haproxy.cfg").read_text()
    (check,) = re.findall(r"^ +server relay .* check (.*)$", text, re.MULTILINE)
    words = check.split()
    options = dict(zip(words[::2], words[1::2], strict=True))
    for interval in ("fastinter", "downinter"):
        assert int(options[interval].rstrip("s")) * int(options["rise"]) <= 2
