"""What a worker imports: each import takes memory in every worker."""

import subprocess
import sys

NEEDLESS = (
    *("prometheus_client", "fastrelay.metrics", "fastrelay.cli", "fastrelay.push.fcm"),
    *("fastrelay.acme.issuer", "acme", "websockets", "importlib.metadata"),
)


def test_a_worker_imports_no_exposition_no_command_line_no_push_and_no_acme() -> None:
    code = f"""
import sys, fastrelay.process.workers.worker
print(sorted(set({NEEDLESS!r}) & set(sys.modules)))
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout == "[]\n"
