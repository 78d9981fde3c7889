"""``python -m bench profile``: where bytes of a connection, and CPU of upgrades and frames, go.

memory    bytes an idle connection by source line, objects it consists of, beside RSS
upgrade   CPU an upgrade by phase
frames    CPU a round trip by function
"""

from collections.abc import Sequence

from bench.profile.frames import TOOLS, profile_frames
from bench.profile.memory import profile_memory
from bench.profile.upgrade import profile_upgrade
from bench.support.arguments import Arguments
from bench.support.machine import describe


def main(arguments: Sequence[str]) -> int:
    """Profile and print; returns 0."""
    parser = Arguments("profile", __doc__)
    parser.add_argument("what", choices=("memory", "upgrade", "frames"))
    parser.add_argument("--tls", action="store_true", help="with TLS instead of plain")
    parser.option("--count", 2000, "connections or upgrades")
    parser.option("--lines", 25, "lines of the list")
    parser.option("--size", 256, "frames: bytes a message")
    parser.option("--window", 1, "frames: messages of each phone on their way at once")
    parser.option("--seconds", 4.0, "frames: length of the measurement")
    parser.add_argument(
        "--tool", choices=TOOLS, help="frames; default: the first of these that is installed"
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
