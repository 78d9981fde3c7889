"""``python -m bench profile``: where bytes of a connection, and CPU of upgrades and frames, go.

memory    bytes an idle connection by source line, objects it consists of, beside RSS
upgrade   CPU an upgrade by phase
frames    CPU a round trip by function
"""

import argparse
from collections.abc import Sequence

from bench.profile.frames import TOOLS, profile_frames
from bench.profile.memory import profile_memory
from bench.profile.upgrade import profile_upgrade
from bench.support.machine import describe


def main(arguments: Sequence[str]) -> int:
    """Profile and print; returns 0."""
    parser = argparse.ArgumentParser(
        prog="python -m bench profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("memory", "upgrade", "frames"))
    parser.add_argument("--tls", action="store_true", help="with TLS (default: plain)")
    parser.add_argument(
        "--count", type=int, default=2000, help="connections or upgrades; default: %(default)s"
    )
    parser.add_argument("--lines", type=int, default=25, help="of the list; default: %(default)s")
    frames = parser.add_argument_group("frames")
    frames.add_argument("--size", type=int, default=256, help="bytes; default: %(default)s")
    frames.add_argument("--window", type=int, default=1, help="on their way; default: %(default)s")
    frames.add_argument("--seconds", type=float, default=4.0, help="default: %(default)g")
    frames.add_argument(
        "--tool", choices=TOOLS, help="default: the first of these that is installed"
    )
    options = parser.parse_args(arguments)
    name = "fastrelay tls" if options.tls else "fastrelay"
    if options.what == "memory":
        text = profile_memory(name, options.count, options.lines)
    elif options.what == "upgrade":
        text = profile_upgrade(name, options.count)
    else:
        load = {"size": options.size, "window": options.window, "seconds": options.seconds}
        text = profile_frames(name, load, options.lines, options.tool)
    print(f"{text}\n\n{describe()}")
    return 0
