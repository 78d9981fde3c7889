"""The order of fastrelay/: what may import what, how large things may be, what is documented.

Every import counts, those inside functions and those for type checking alone included.
"""

import ast
import functools
import graphlib
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "fastrelay"

ORDER = (
    ("fastrelay.__main__",),
    ("fastrelay.cli",),
    ("fastrelay.tools", "fastrelay.tools.probe", "fastrelay.tools.top"),
    ("fastrelay.tools.support",),
    ("fastrelay.process",),
    ("fastrelay.server",),
    ("fastrelay.acme", "fastrelay.push", "fastrelay.metrics"),
    ("fastrelay.routing",),
    ("fastrelay.websocket",),
    ("fastrelay.http",),
    ("fastrelay.net",),
    ("fastrelay.loop",),
    ("fastrelay.policy",),
    ("fastrelay.protocol",),
    ("fastrelay.config",),
    ("fastrelay.log", "fastrelay.address"),
    ("fastrelay",),
)
"""From top to bottom. What is on a line imports only from itself and from lines below."""

ONLY = {
    "fastrelay.tools": (
        "fastrelay.tools",
        "fastrelay.loop.daemon_thread",
        "fastrelay.config",
        "fastrelay",
    )
}
"""Packages that may import nothing of ours but these."""

PURE = ("fastrelay.policy", "fastrelay.protocol")
IMPURE = {"asyncio", "prometheus_client", "selectors", "socket", "ssl", "threading", "time"}
"""What pure packages do not import: they are given bytes, numbers and clocks."""

MOST_OUTSIDE_PACKAGES = 7
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 50
Sources = dict[str, str]
"""Modules by their dotted names; a package by its own, for its ``__init__.py``."""

_LINE = {unit: line for line, units in enumerate(ORDER) for unit in units}


def files() -> dict[str, Path]:
    """Every module of fastrelay/ by its dotted name."""
    found = {}
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


FILES = files()
SOURCES: Sources = {name: file.read_text() for name, file in FILES.items()}


@functools.cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


@functools.cache
def imports(source: str) -> frozenset[str]:
    """What is imported anywhere, as it is written: modules, and names behind their module."""
    found: set[str] = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def graph(sources: Sources) -> dict[str, set[str]]:
    """The modules of ours that each module imports."""
    found: dict[str, set[str]] = {}
    for module, source in sources.items():
        ours = {name for name in imports(source) if name.split(".")[0] == PACKAGE}
        found[module] = {name if name in sources else name.rpartition(".")[0] for name in ours}
        unknown = found[module] - sources.keys()
        assert not unknown, f"{module} imports {unknown}, which is not there"
    return found


def is_in(module: str, package: str) -> bool:
    """Whether a module belongs to a package; to fastrelay itself only its ``__init__.py`` does."""
    return module == package or (package != PACKAGE and module.startswith(f"{package}."))


def unit_of(module: str) -> str:
    """The entry of :data:`ORDER` that a module belongs to."""
    return max((unit for unit in _LINE if is_in(module, unit)), key=len)


def upward(sources: Sources) -> list[str]:
    """Imports of what is not below."""
    wrong = []
    for module, targets in graph(sources).items():
        unit = unit_of(module)
        for target in targets:
            other = unit_of(target)
            if other != unit and _LINE[other] <= _LINE[unit]:
                wrong.append(f"{module} -> {target}")
            for package, allowed in ONLY.items():
                if is_in(module, package) and not any(is_in(target, name) for name in allowed):
                    wrong.append(f"{module} -> {target}")
    return sorted(wrong)


def circle(sources: Sources) -> list[str]:
    """Modules that import one another in a circle; empty if there is none."""
    try:
        tuple(graphlib.TopologicalSorter(graph(sources)).static_order())
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def impure(sources: Sources) -> list[str]:
    """Pure modules that import what does input or output, or tells the time."""
    return sorted(
        f"{module} -> {name}"
        for module, source in sources.items()
        if any(is_in(module, package) for package in PURE)
        for name in imports(source)
        if name.split(".")[0] in IMPURE
    )


def rows(table: str) -> set[str]:
    """The modules that have a row, as paths within the package."""
    return set(re.findall(r"^\| `([\w/]+\.py)` \| \S.* \|$", table, re.MULTILINE))


def documentable(sources: Sources) -> set[str]:
    """The modules that must have one: all but those that hold nothing but a docstring."""
    found = set()
    for module, source in sources.items():
        if len(parsed(source).body) > 1:
            found.add(str(FILES[module].relative_to(ROOT / PACKAGE)))
    return found


def long_functions(sources: Sources) -> list[str]:
    """Functions over the limit, from the line of their ``def`` to their last."""
    return [
        f"{module}.{node.name}"
        for module, source in sources.items()
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_FUNCTION
    ]


def test_imports_only_point_downwards() -> None:
    assert upward(SOURCES) == []


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert circle(SOURCES) == []


def test_pure_packages_do_no_input_or_output() -> None:
    assert impure(SOURCES) == []


def test_every_module_has_a_row_and_every_row_a_module() -> None:
    documented = rows((ROOT / "docs" / "architecture.md").read_text())
    assert documented == documentable(SOURCES)


def test_few_modules_are_outside_packages() -> None:
    outside = [file for file in FILES.values() if file.parent.name == PACKAGE]
    assert len(outside) <= MOST_OUTSIDE_PACKAGES


def test_no_file_and_no_function_is_too_long() -> None:
    files = {module for module, source in SOURCES.items() if source.count("\n") > MOST_LINES}
    assert not files | set(long_functions(SOURCES))


# -- the checks find what they are for ------------------------------------------------------------


def with_line(module: str, line: str) -> Sources:
    """The real sources, with one more line at the end of one of them."""
    return SOURCES | {module: f"{SOURCES[module]}\n{line}\n"}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("fastrelay.http.exchange", "from fastrelay.server.relay import Relay"),
        ("fastrelay.loop.timer_wheel", "from fastrelay import http"),
        ("fastrelay.log", "import fastrelay.config.settings"),
        ("fastrelay.address", "from fastrelay.log import Log"),
        ("fastrelay.push.fcm", "from fastrelay.metrics.push import PushMetrics"),
        ("fastrelay.protocol.frames", "def f():\n    from fastrelay.policy import registry"),
        (
            "fastrelay.config.checks",
            "if TYPE_CHECKING:\n    from fastrelay.push.fcm import FcmSender",
        ),
        ("fastrelay.tools.top.view", "from fastrelay.tools.probe.client import Endpoint"),
        ("fastrelay.tools.top.view", "from fastrelay.metrics.exposition import render"),
    ],
)
def test_an_import_upwards_is_found(module: str, line: str) -> None:
    (found,) = set(upward(with_line(module, line))) - set(upward(SOURCES))
    assert found.startswith(f"{module} -> fastrelay.")


def test_a_circle_is_found() -> None:
    line = "if TYPE_CHECKING:\n    from fastrelay.routing.router import Router"
    found = circle(with_line("fastrelay.routing.phone", line))
    assert {"fastrelay.routing.phone", "fastrelay.routing.router"} <= set(found)


def test_an_impure_import_is_found() -> None:
    assert impure(with_line("fastrelay.policy.caps", "import asyncio")) == [
        "fastrelay.policy.caps -> asyncio"
    ]


@pytest.mark.parametrize("lines", [50, 51])
def test_a_long_function_is_found(lines: int) -> None:
    function = "def long():\n" + "    pass\n" * (lines - 1)
    found = long_functions({"module": function})
    assert found == (["module.long"] if lines > MOST_LINES_OF_A_FUNCTION else [])


def test_a_row_needs_a_text() -> None:
    table: Iterable[str] = ("| `a/b.py` | what it is for |", "| `c.py` |  |", "`d.py` | no row |")
    assert rows("\n".join(table)) == {"a/b.py"}
