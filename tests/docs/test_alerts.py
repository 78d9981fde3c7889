"""The shipped alert rules: valid, each firing and not firing, each on families that exist."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.certificates import local_certificate
from tests.support.harness import running_relay
from tests.support.programs import needs
from tests.support.prometheus import prometheus

DOCS = Path(__file__).parents[2] / "docs"
RULES = DOCS / "alerts.yml"
TEXT = RULES.read_text()
RUNBOOKS = "https://github.com/pyrycode/fastrelay/blob/main/docs/operations.md"
ALERTS = re.findall(r"alert: (\w+)", TEXT)
PREFIX = "pyrycode_relay_"
HERE = 'job="fastrelay",instance="a"'
DAY = 86400
INTERVALS = {"RelayCertificateExpiresSoon": 30}
"""Minutes between two samples, where that is not one."""

# What fires, what does not: series and their values a minute, from the start.
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "RelayNotScraped": ({f"up{{{HERE}}}": "0x20"}, {f"up{{{HERE}}}": "0 1 0 1x20"}),
    "RelayUpgradeFlood": (
        {f'{PREFIX}ws_upgrade_attempts_total{{{HERE},outcome="reject_headers"}}': "0+360x20"},
        {
            f'{PREFIX}ws_upgrade_attempts_total{{{HERE},outcome="accept"}}': "0+3600x20",
            f'{PREFIX}ws_upgrade_attempts_total{{{HERE},outcome="reject_rate_limit"}}': "0+60x20",
        },
    ),
    "RelayConflictsPersist": (
        {f'{PREFIX}register_failures_total{{{HERE},kind="server_in_use"}}': "0+1x60"},
        {
            f'{PREFIX}register_failures_total{{{HERE},kind="server_in_use"}}': "0 20 20x60",
            f'{PREFIX}register_failures_total{{{HERE},kind="no_server"}}': "0+9x60",
        },
    ),
    "RelayBacklogEvictions": (
        {f'{PREFIX}frames_dropped_total{{{HERE},reason="backlog_full"}}': "0x15 7x5"},
        {f'{PREFIX}frames_dropped_total{{{HERE},reason="closing"}}': "0+100x20"},
    ),
    "RelayFramesDropped": (
        {f'{PREFIX}frames_dropped_total{{{HERE},reason="no_peer"}}': "0+900x20"},
        {f'{PREFIX}frames_dropped_total{{{HERE},reason="no_peer"}}': "0+60x20"},
    ),
    "RelayConnectionsRefused": (
        {f'{PREFIX}connections_refused_total{{{HERE},cap="relay"}}': "0+1x20"},
        {
            f'{PREFIX}connections_refused_total{{{HERE},cap="relay"}}': "5x20",
            f'{PREFIX}connections_refused_total{{{HERE},cap="address"}}': "0+1x20",
        },
    ),
    "RelayAddressRefused": (
        {f'{PREFIX}connections_refused_total{{{HERE},cap="address"}}': "0+1x30"},
        {f'{PREFIX}connections_refused_total{{{HERE},cap="relay"}}': "0+1x30"},
    ),
    "RelayRestarts": (
        {f"process_start_time_seconds{{{HERE}}}": "0x15 60 120 180 240x5"},
        {f"process_start_time_seconds{{{HERE}}}": "0x15 60x10"},
    ),
    "RelayHeldBytes": (
        {
            f'{PREFIX}held_bytes{{{HERE},kind="tls"}}': "50x20",
            f'{PREFIX}held_bytes{{{HERE},kind="phone_backlogs"}}': "40x20",
            f"{PREFIX}held_bytes_limit{{{HERE}}}": "100x20",
        },
        {
            f'{PREFIX}held_bytes{{{HERE},kind="tls"}}': "70x20",
            f"{PREFIX}held_bytes_limit{{{HERE}}}": "100x20",
        },
    ),
    "RelayMemoryEvictions": (
        {f'{PREFIX}held_bytes_evicted_total{{{HERE},kind="tls"}}': "0x15 3x5"},
        {f'{PREFIX}held_bytes_evicted_total{{{HERE},kind="tls"}}': "3x20"},
    ),
    "RelayDescriptors": (
        {
            f"process_open_fds{{{HERE}}}": "950x20",
            f"process_max_fds{{{HERE}}}": "1000x20",
        },
        {
            f"process_open_fds{{{HERE}}}": "850x20",
            f"process_max_fds{{{HERE}}}": "1000x20",
        },
    ),
    "RelayPushFails": (
        {
            f'{PREFIX}push_wakes_total{{{HERE},outcome="sent"}}': "0+1x30",
            f'{PREFIX}push_wakes_total{{{HERE},outcome="send_failed"}}': "0+3x30",
        },
        {
            f'{PREFIX}push_wakes_total{{{HERE},outcome="sent"}}': "0+3x30",
            f'{PREFIX}push_wakes_total{{{HERE},outcome="token_fetch_failed"}}': "0+1x30",
            f'{PREFIX}push_wakes_total{{{HERE},outcome="dropped"}}': "0+9x30",
        },
    ),
    "RelayProbeFails": (
        {'fastrelay_probe_success{target="wss://a"}': "0x20"},
        {'fastrelay_probe_success{target="wss://a"}': "1x20"},
    ),
    "RelayProbeSilent": (
        {'fastrelay_probe_last_run_timestamp_seconds{target="wss://a"}': "0x30"},
        {'fastrelay_probe_last_run_timestamp_seconds{target="wss://a"}': "0+60x30"},
    ),
    "RelayLoopLag": (
        {
            f'{PREFIX}event_loop_lag_seconds_bucket{{{HERE},le="0.1"}}': "0+100x20",
            f'{PREFIX}event_loop_lag_seconds_bucket{{{HERE},le="0.5"}}': "0+240x20",
            f'{PREFIX}event_loop_lag_seconds_bucket{{{HERE},le="+Inf"}}': "0+240x20",
        },
        {
            f'{PREFIX}event_loop_lag_seconds_bucket{{{HERE},le="0.1"}}': "0+240x20",
            f'{PREFIX}event_loop_lag_seconds_bucket{{{HERE},le="+Inf"}}': "0+240x20",
        },
    ),
    "RelayInternalErrors": (
        {f"{PREFIX}internal_errors_total{{{HERE}}}": "0x15 1x5"},
        {f"{PREFIX}internal_errors_total{{{HERE}}}": "3x20"},
    ),
    "RelayLogLinesLost": (
        {f"{PREFIX}log_lines_lost_total{{{HERE}}}": "0x15 40x5"},
        {f"{PREFIX}log_lines_lost_total{{{HERE}}}": "40x20"},
    ),
    "RelayGraceExpiryBurst": (
        {f"{PREFIX}grace_expiries_total{{{HERE}}}": "0x15 60x3"},
        {f"{PREFIX}grace_expiries_total{{{HERE}}}": "0+1x20"},
    ),
    "RelayCertificateMissing": (
        {f"{PREFIX}certificate_expiry_timestamp_seconds{{{HERE}}}": "0x20"},
        {f"{PREFIX}certificate_expiry_timestamp_seconds{{{HERE}}}": "0x10 900000x10"},
    ),
    "RelayCertificateExpiresSoon": (
        {f"{PREFIX}certificate_expiry_timestamp_seconds{{{HERE}}}": f"{11 * DAY}x204"},
        # Six days, and renewed when two are left.
        {
            f"{PREFIX}certificate_expiry_timestamp_seconds{{{HERE}}}": " ".join(
                f"{day * DAY}x192" for day in (6, 10, 14)
            )
        },
    ),
    "RelayCertificateExpires": (
        {f"{PREFIX}certificate_expiry_timestamp_seconds{{{HERE}}}": "80000x120"},
        {f"{PREFIX}certificate_expiry_timestamp_seconds{{{HERE}}}": f"{2 * DAY}x120"},
    ),
}

# Alerts that stay calm for more than one reason.
ALSO_CALM: list[tuple[str, dict[str, str]]] = [
    # There is no certificate yet, which another alert says.
    (
        "RelayCertificateExpires",
        {f"{PREFIX}certificate_expiry_timestamp_seconds{{{HERE}}}": "0x120"},
    ),
    (
        "RelayCertificateExpiresSoon",
        {f"{PREFIX}certificate_expiry_timestamp_seconds{{{HERE}}}": "0x204"},
    ),
    ("RelayPushFails", {f'{PREFIX}push_wakes_total{{{HERE},outcome="send_failed"}}': "0x30"}),
]

# Alerts that fire for more than one reason.
ALSO_FIRING: list[tuple[str, dict[str, str]]] = [
    ("RelayNotScraped", {}),  # no such target
    (
        "RelayUpgradeFlood",
        {
            f"{PREFIX}ws_upgrade_attempts_total{{{HERE},{cell}}}": "0+360x20"
            for cell in (
                'endpoint="server",outcome="reject_409"',
                'endpoint="client",outcome="reject_404"',
            )
        },
    ),
    (
        "RelayFramesDropped",
        {f'{PREFIX}frames_dropped_total{{{HERE},reason="invalid"}}': "0+900x20"},
    ),
]


def samples(values: str) -> int:
    """How many intervals a series of promtool spans."""
    return sum(int(part.partition("x")[2] or 0) + 1 for part in values.split()) - 1


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    needs("promtool", "prometheus")
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def test_the_rules_are_valid_and_all_are_tested() -> None:
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert set(CASES) == set(ALERTS)


@pytest.mark.parametrize(
    ("alert", "series", "alerts"),
    [
        *((alert, firing, 1) for alert, (firing, _) in CASES.items()),
        *((alert, calm, 0) for alert, (_, calm) in CASES.items()),
        *((alert, calm, 0) for alert, calm in ALSO_CALM),
        *((alert, firing, max(1, len(firing))) for alert, firing in ALSO_FIRING),
    ],
)
def test_fires_when_it_should_and_not_otherwise(
    tmp_path: Path, alert: str, series: dict[str, str], alerts: int
) -> None:
    length = max((samples(values) for values in series.values()), default=0)
    minutes = INTERVALS.get(alert, 1)
    question = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    test: dict[str, Any] = {
        "interval": f"{minutes}m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count({question}) or vector(0)",
                "eval_time": f"{max(length, 18) * minutes}m",
                "exp_samples": [{"labels": "{}", "value": alerts}],
            }
        ],
    }
    file = tmp_path / "test.json"
    file.write_text(
        json.dumps(
            {"rule_files": [str(RULES)], "evaluation_interval": f"{minutes}m", "tests": [test]}
        )
    )
    tested = promtool("test", "rules", str(file))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_runbook_link_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", (DOCS / "operations.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    links = re.findall(rf"runbook_url: {RUNBOOKS}#(\S+)", TEXT)
    assert links == [alert.lower() for alert in ALERTS]
    assert set(links) <= anchors


async def test_a_real_server_evaluates_them_on_a_real_relay(tmp_path: Path) -> None:
    async with running_relay(tls=local_certificate()) as relay:
        async with prometheus(tmp_path, relay.metrics_port, rules=RULES) as server:
            await server.until(f"{PREFIX}build_info")
            groups = (await server.get("/api/v1/rules"))["groups"]
            assert [rule["name"] for group in groups for rule in group["rules"]] == ALERTS
            families = set(re.findall(rf"({PREFIX}\w+|process_\w+|\bup\b)(?=[{{\[ ])", TEXT))
            families.discard(f"{PREFIX}push_wakes_total")  # there while push is on
            for family in families:
                assert await server.until(family), family


def test_every_alert_explains_itself_and_critical_is_rare() -> None:
    rules = [rule for group in yaml.safe_load(TEXT)["groups"] for rule in group["rules"]]
    for rule in rules:
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["description"].endswith(".")
    critical = {rule["alert"] for rule in rules if rule["labels"]["severity"] == "critical"}
    assert critical == {
        *("RelayNotScraped", "RelayConnectionsRefused", "RelayProbeFails"),
        *("RelayCertificateMissing", "RelayCertificateExpires"),
    }
