"""The shipped example of a daemon and of a phone, as processes, through a real relay."""

import asyncio
import json
import sys
from pathlib import Path

from tests.support.harness import running_relay

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


async def started(name: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / name), *arguments), stdout=asyncio.subprocess.PIPE
    )


async def test_a_message_goes_through_and_comes_back() -> None:
    async with running_relay() as relay, asyncio.timeout(30):
        where = (f"ws://127.0.0.1:{relay.port}", "my-laptop")
        daemon = await started("daemon.py", *where)
        try:
            await relay.until(lambda: relay.log_of("server_claimed"))
            phone = await started("phone.py", *where)
            said, _ = await phone.communicate()
            assert phone.returncode == 0
            assert json.loads(said) == {"echo": {"hello": "daemon"}}
        finally:
            daemon.kill()
            await daemon.communicate()
