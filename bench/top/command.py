"""``python -m bench top``: the screen of ``fastrelay top``, drawn from a real run.

A relay with two workers has honest households, more of them as time goes by, and beside them peers
that are refused, or that break the protocol. The picture is the screen at the end.
"""

import asyncio
import importlib.util
import io
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.soak.honest import Household
from bench.soak.hostile import (
    Enemy,
    act_in_turn,
    breaks_the_protocol,
    comes_and_goes,
    daemon_comes_back,
    garbage,
    is_refused,
)
from bench.soak.tally import Tally
from bench.support.arguments import Arguments
from bench.support.client import Refused
from bench.support.relay import OURS, running
from fastrelay.config.errors import install_extra
from fastrelay.tools.support.endpoint import Endpoint
from fastrelay.tools.top.scrape import ScrapeDelta, Source, scrape

DOCS: Final = Path(__file__).parents[2] / "docs"
_COLUMNS, _ROWS = 100, 46
_HOMES: Final = 6
_LOOKS: Final = _COLUMNS
"""One for each column of a chart."""


def main(arguments: Sequence[str]) -> int:
    """Run the scene and draw the screen; returns the exit code."""
    parser = Arguments("top", __doc__)
    parser.option("--seconds", 50.0, "length of the run")
    parser.file("--output", "the picture; default: that of the docs")
    options = parser.parse_args(arguments)
    output = options.output or DOCS / "images" / "top.svg"
    if importlib.util.find_spec("rich") is None:
        sys.stderr.write(f"bench top needs rich: {install_extra('top')}\n")
        return 2
    with running(f"{OURS} --workers 2 --grace 3") as relay:
        picture = asyncio.run(_watched(relay.port, relay.metrics_port, options.seconds))
    output.write_text(picture)
    print(f"the screen after {options.seconds:g} s: {output}")
    return 0


async def _watched(port: int, metrics_port: int, seconds: float) -> str:
    from fastrelay.tools.top.view import View  # with rich

    endpoint = Endpoint("127.0.0.1", metrics_port, plain_scheme="http")
    source = Source("http://127.0.0.1:9090/metrics", endpoint, "/metrics", 10.0)
    interval = seconds / _LOOKS
    view = View(source.url, interval)
    load = asyncio.create_task(_load(port, seconds))
    last = await scrape(source)
    while not load.done():
        await asyncio.wait({load}, timeout=interval)
        now = await scrape(source)
        if not load.done():  # what is to be seen are the households, not their leaving
            view.add(ScrapeDelta(last, now))
        last = now
    await load
    return _drawn(view.screen(_COLUMNS, _ROWS))


async def _load(port: int, seconds: float) -> None:
    tally, end = Tally(), time.monotonic() + seconds

    async def household(number: int) -> None:
        wait = seconds * number / (_HOMES + 1)
        await asyncio.sleep(wait)
        while (left := end - time.monotonic()) > 0:
            try:
                await Household(port, f"home-of-{number}", 6, 40.0, tally).run_for(left)
            except Refused:  # a worker was too busy to take it in time: it asks for a later try
                await asyncio.sleep(0.5)

    acts = (is_refused, comes_and_goes, breaks_the_protocol, daemon_comes_back, garbage)
    hostile = act_in_turn(acts, Enemy(port, tally), tally, end)
    await asyncio.gather(hostile, *map(household, range(_HOMES)))


def _drawn(lines: Sequence[object]) -> str:
    """The lines as an SVG that loads nothing from elsewhere."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    console = Console(
        record=True,
        file=io.StringIO(),
        width=_COLUMNS,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        markup=False,
    )
    for line in lines:
        console.print(line, no_wrap=True)
    form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="fastrelay top", code_format=form, unique_id="top")
