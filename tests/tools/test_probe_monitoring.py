"""``fastrelay probe`` as a monitor: again and again, as JSON, and as a file for Prometheus."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.support.ports import free_port
from fastrelay.cli import main
from fastrelay.tools.probe.checks import STEPS
from fastrelay.tools.probe.command import Output, parse_endpoint, probe
from tests.support.harness import running_relay
from tests.support.programs import needs

NAMES = [step.name for step in STEPS]


@contextlib.asynccontextmanager
async def probing(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command in a process of its own; killed at the end if it is still there."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fastrelay", "probe", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(40):
        return (await process.stdout.readline()).decode()


def metrics(file: Path) -> dict[tuple[str, str], float]:
    """Samples by name and the label that is not the target."""
    samples = {}
    for family in text_string_to_metric_families(file.read_text()):
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "target"}
            name = sample.name.removeprefix("fastrelay_probe_")
            samples[name, "".join(labels.values())] = sample.value
    return samples


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_line_a_round_until_told_to_stop(number: signal.Signals) -> None:
    async with running_relay() as relay:
        async with probing(relay.url, "--interval", "0.05") as process:
            for _ in range(3):
                told = await line(process)
                assert " ok   " in told
                assert "there and back min " in told
            process.send_signal(number)
            _, errors = await process.communicate()
            assert process.returncode == 0
            assert errors.startswith(b"fastrelay probe: --interval 0.05: a round takes 4 upgrade")
            assert errors.count(b"\n") == 1
        await relay.until(lambda: relay.live == 0)


async def test_stopped_while_a_relay_says_nothing() -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with probing(f"ws://127.0.0.1:{port}", "--interval", "24") as process:
            await asked.wait()
            process.terminate()
            assert await process.communicate() == (b"", b"")
            assert process.returncode == 0


async def test_an_outage_is_told_in_all_forms_and_so_is_its_end(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "relay.prom"
    arguments = ("--interval", "0.05", "--json", "--metrics-file", str(file))
    async with probing(f"ws://127.0.0.1:{port}", *arguments) as process:
        told = json.loads(await line(process))
        assert not told["ok"]
        assert told["fault"]["step"] == NAMES[0]
        assert "connection refused" in told["fault"]["got"]
        assert [step["ok"] for step in told["steps"]] == [False]
        seen = metrics(file)
        assert seen["success", ""] == seen["step_success", NAMES[0]] == 0
        assert ("step_seconds", NAMES[1]) not in seen
        async with running_relay() as relay:
            async with await asyncio.start_server(
                lambda *streams: forward(*streams, relay.port), "127.0.0.1", port
            ):
                async with asyncio.timeout(40):
                    while not (told := json.loads(await line(process)))["ok"]:
                        pass
                assert metrics(file)["success", ""] == 1
                process.terminate()
                await process.wait()


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Let a connection reach a relay on another port."""
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()

    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


async def test_one_round_as_json_and_as_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "relay.prom"
    async with running_relay() as relay:
        output = Output(as_json=True, metrics_file=file)
        assert await probe(parse_endpoint(relay.url), 10, output) == 0
        url = relay.url
    told = json.loads(capsys.readouterr().out)
    assert told["ok"]
    assert told["fault"] is None
    assert told["target"] == url
    assert [step["step"] for step in told["steps"]] == NAMES
    assert told["seconds"] == pytest.approx(
        sum(step["seconds"] for step in told["steps"]), abs=1e-4
    )
    seen = metrics(file)
    assert seen["success", ""] == 1
    assert seen["duration_seconds", ""] == pytest.approx(told["seconds"], abs=1e-4)
    assert seen["last_run_timestamp_seconds", ""] > 1_700_000_000
    assert {key for name, key in seen if name == "step_seconds"} == set(NAMES)
    (times,) = (step["measured"] for step in told["steps"] if step["measured"])
    for name in ("min", "median", "max"):
        assert seen["round_trip_seconds", name] == pytest.approx(times[name], abs=1e-5)
    assert f'target="{url}"' in file.read_text()
    assert list(tmp_path.iterdir()) == [file]  # nothing half-written beside it


async def test_promtool_has_nothing_to_say_about_the_file(tmp_path: Path) -> None:
    needs("promtool", "prometheus")
    file = tmp_path / "relay.prom"
    async with running_relay() as relay:
        assert await probe(parse_endpoint(relay.url), 10, Output(metrics_file=file)) == 0
    with file.open() as metrics:
        checked = await asyncio.to_thread(
            lambda: subprocess.run(
                ("promtool", "check", "metrics"), stdin=metrics, capture_output=True, check=False
            )
        )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_a_file_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    assert main(["probe", url, "--metrics-file", str(tmp_path / "none" / "x.prom")]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "--metrics-file" in first
    assert ".prom" in second
    (tmp_path / "x.prom").mkdir()
    assert main(["probe", url, "--json", "--metrics-file", str(tmp_path / "x.prom")]) == 1
    output = capsys.readouterr()
    assert "Is a directory" in output.err
    assert not json.loads(output.out)["ok"]


@pytest.mark.parametrize("interval", ["0", "-1", "often", "nan"])
def test_intervals_that_make_no_sense(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "ws://127.0.0.1:1", "--interval", interval]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_the_help_tells_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["probe", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for part in ("--interval SECONDS", "--json", "--metrics-file FILE", ".prom", "every 24 s"):
        assert part in text
