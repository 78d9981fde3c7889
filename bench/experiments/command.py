"""``python -m bench experiments``: what justified each optimisation, and what did not help."""

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Final

import bench.experiments
from bench.experiments.against import compare
from bench.support.arguments import Arguments
from bench.support.machine import describe

_HELPERS: Final = {"against", "command", "parts", "variant"}
NAMES: Final = sorted(
    module.name
    for module in pkgutil.iter_modules(bench.experiments.__path__)
    if module.name not in _HELPERS
)


def main(arguments: Sequence[str]) -> int:
    """Run the experiments that are named; without a name, list them."""
    known = "\n".join(f"  {name:<19}{_what(name)}" for name in NAMES)
    parser = Arguments("experiments", __doc__, known)
    parser.add_argument(
        "names", nargs="*", choices=[*NAMES, "all", []], metavar="NAME", help="see below; or: all"
    )
    parser.option("--rounds", 7, "turns of each relay")
    parser.option("--seconds", 0.4, "length of a turn")
    parser.option("--count", 2000, "idle connections")
    options = parser.parse_args(arguments)
    if not options.names:
        parser.print_help()
        return 0
    for name in NAMES if "all" in options.names else options.names:
        module = importlib.import_module(f"bench.experiments.{name}")
        print(f"{name}: {_what(name)}\n")
        if hasattr(module, "main"):
            module.main()
        else:
            compare(name, module, options.rounds, options.seconds, options.count)
        print(flush=True)
    print(describe())
    return 0


def _what(name: str) -> str:
    """The first line of an experiment's docstring."""
    text = importlib.import_module(f"bench.experiments.{name}").__doc__ or ""
    return text.partition("\n")[0]
