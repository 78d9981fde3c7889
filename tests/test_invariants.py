"""Invariants that the source shows: module state, settings, the path of frames, status lines.

See ``docs/invariants.md`` for these and for those that other tests hold.
"""

import ast
import dataclasses
import enum
import functools
import importlib
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import pytest

from fastrelay.config import settings
from tests.test_layers import FILES, SOURCES

CONTAINERS = (list, dict, set, bytearray)
IMMUTABLE = (
    *(type(None), bool, int, float, str, bytes, frozenset, re.Pattern, Path, enum.Enum),
    *(type, ModuleType, FunctionType, BuiltinFunctionType, MethodType),
)
STATELESS = {"typing", "collections.abc", "types", "_struct", "msgspec"}
"""Modules whose instances have no state here: annotations, type variables, Struct, Raw."""

HEAP_TYPE = 1 << 9
"""CPython's flag of classes that are not compiled (Py_TPFLAGS_HEAPTYPE)."""

MUTATORS = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
    *("add", "discard", "update", "setdefault", "popitem", "appendleft", "popleft"),
}

FRAME_PATH = ("fastrelay.routing", "fastrelay.websocket", "fastrelay.protocol", "fastrelay.policy")
SCHEDULING = {
    *("create_task", "ensure_future", "create_future", "TaskGroup", "Task", "Future"),
    *("call_later", "call_at", "call_soon", "call_soon_threadsafe", "run_in_executor", "sleep"),
    *("Queue", "Thread", "to_thread"),
}


# -- nothing mutable at module level ---------------------------------------------------------------


def is_immutable(value: object) -> bool:
    """Whether a module may hold ``value``: it has no state, or none that can change.

    A dict may be a constant table, unless it is empty; that nothing stores into it is checked in
    the source.
    """
    if isinstance(value, dict):
        return bool(value) and all(is_immutable(v or ()) for v in value.values())
    if isinstance(value, tuple):
        return all(map(is_immutable, value))
    if isinstance(value, functools._lru_cache_wrapper | memoryview):
        return False
    if isinstance(value, IMMUTABLE) or type(value).__module__ in STATELESS:
        return True
    kind: Any = type(value)
    if dataclasses.is_dataclass(kind):
        fields = (getattr(value, field.name) for field in dataclasses.fields(kind))
        return kind.__dataclass_params__.frozen and all(map(is_immutable, fields))
    slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
    is_compiled = not kind.__flags__ & HEAP_TYPE
    return not slots and not is_compiled and not getattr(value, "__dict__", None)


def mutable_values(module: ModuleType, names: set[str]) -> list[str]:
    """Those of ``names`` that are mutable values, and mutable attributes of its classes."""
    found = []
    for name in sorted(names):
        value = vars(module)[name]
        if not is_immutable(value):
            found.append(name)
        if isinstance(value, type) and not issubclass(value, enum.Enum):
            attributes = vars(value).items()
            found += [
                f"{name}.{attribute}"
                for attribute, held in attributes
                if isinstance(held, CONTAINERS)
                and not attribute.startswith("__")
                and attribute != "_field_defaults"  # of a NamedTuple
            ]
    return found


def bound_names(tree: ast.Module) -> set[str]:
    """What a module binds itself: by assignments, functions and classes."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                names.add(node.name)
            case ast.Assign():
                names |= {
                    n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)
                }
            case ast.AnnAssign(target=ast.Name(id=name)) if node.value is not None:
                names.add(name)
    return names


def imported_names(tree: ast.Module) -> set[str]:
    """What a module imports outside its functions."""
    return {
        (alias.asname or alias.name).split(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def module_stores(source: str) -> list[str]:
    """Statements in functions that change what is bound at module level."""
    tree = ast.parse(source)
    shared = bound_names(tree) | imported_names(tree)
    found = []
    for function in functions(tree):
        stored = {
            node.id
            for node in ast.walk(function)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        local = stored | {argument.arg for argument in ast.walk(function.args) if is_arg(argument)}
        for node in ast.walk(function):
            match node:
                case ast.Global():
                    found.append(ast.unparse(node))
                case (
                    ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del())
                    | ast.Attribute(value=ast.Name(id=name), ctx=ast.Store() | ast.Del())
                ) if name in shared - local:
                    found.append(ast.unparse(node))
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)) if (
                    name in shared - local and attribute in MUTATORS
                ):
                    found.append(ast.unparse(node))
    return found


def is_arg(node: ast.AST) -> typing.TypeGuard[ast.arg]:
    return isinstance(node, ast.arg)


@pytest.mark.parametrize("module", [name for name in FILES if not name.endswith("__main__")])
def test_no_module_holds_a_mutable_value(module: str) -> None:
    names = bound_names(ast.parse(SOURCES[module]))
    assert mutable_values(importlib.import_module(module), names) == []


@pytest.mark.parametrize("module", SOURCES)
def test_no_function_changes_a_module(module: str) -> None:
    assert module_stores(SOURCES[module]) == []


def held(value: object) -> list[str]:
    """What is found in a module that holds ``value``."""
    module = ModuleType("example")
    vars(module)["name"] = value
    return mutable_values(module, {"name"})


class Instance:
    """Without attributes of its own at first."""


@pytest.mark.parametrize(
    "value", [[], [1], {}, {"a": [1]}, set(), bytearray(1), ([],), functools.cache(len), iter(())]
)
def test_a_mutable_value_is_found(value: object) -> None:
    assert held(value) == ["name"]


def test_a_mutable_value_of_a_class_is_found() -> None:
    assert held(type("Kind", (), {"seen": [1]})) == ["name.seen"]


def test_an_instance_with_attributes_is_found() -> None:
    instance: Any = Instance()
    assert held(instance) == []
    instance.count = 1
    assert held(instance) == ["name"]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("N = 0\ndef f():\n    global N\n    N += 1", ["global N"]),
        ("T = {1: 2}\ndef f():\n    T[3] = 4", ["T[3]"]),
        ("T = {1: 2}\ndef f():\n    del T[1]", ["T[1]"]),
        ("T = {1: 2}\ndef f():\n    T.update({3: 4})", ["T.update({3: 4})"]),
        ("class C:\n    n = 0\n    def f(self):\n        C.n += 1", ["C.n"]),
        ("import socket\ndef f():\n    socket.timeout = 1", ["socket.timeout"]),
        ("T = {1: 2}\ndef f():\n    T = {}\n    T[3] = 4", []),
        ("T = {1: 2}\ndef f(T):\n    T[3] = 4", []),
        ("def f(self):\n    self.n = 1", []),
    ],
)
def test_a_store_into_a_module_is_found(source: str, found: list[str]) -> None:
    assert module_stores(source) == found


# -- settings are frozen ---------------------------------------------------------------------------


def settings_classes() -> list[type]:
    return [kind for kind in vars(settings).values() if dataclasses.is_dataclass(kind)]


@pytest.mark.parametrize("kind", settings_classes())
def test_settings_are_frozen(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen
    for name, annotation in typing.get_type_hints(kind).items():
        parts = re.findall(r"\w+", str(annotation))
        assert not {"list", "dict", "set", "bytearray", "Any"} & set(parts), name


# -- no task, timer or queue per frame -------------------------------------------------------------


def scheduled(source: str) -> set[str]:
    """What in a module starts a task, a timer, a thread or a queue, or waits for one."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in SCHEDULING:
                found.add(name)
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                found.add("async")
    return found


@pytest.mark.parametrize(
    "module", [name for name in SOURCES if name.startswith(tuple(f"{p}." for p in FRAME_PATH))]
)
def test_the_frame_path_starts_no_task_timer_or_queue(module: str) -> None:
    assert scheduled(SOURCES[module]) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("asyncio.create_task(f())", {"create_task"}),
        ("def f(self):\n    self._loop.call_later(1, g)", {"call_later"}),
        ("q: asyncio.Queue[int] = asyncio.Queue()", {"Queue"}),
        ("async def f(): ...", {"async"}),
        ("wheel.at(item, 1.0)", set()),
    ],
)
def test_scheduling_is_found(source: str, found: set[str]) -> None:
    assert scheduled(source) == found


# -- status lines ----------------------------------------------------------------------------------


def uses(attribute: str, packages: tuple[str, ...]) -> list[str]:
    """The functions of some packages that use an attribute of this name."""
    return [
        f"{module}.{function.name}"
        for module, source in SOURCES.items()
        if module.startswith(packages)
        for function in functions(ast.parse(source))
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == attribute
    ]


def test_one_function_writes_status_lines() -> None:
    """What is spoken before the upgrade: only here something could pass the observer by."""
    spoken = ("fastrelay.http.", "fastrelay.server.")
    assert uses("write", spoken) == ["fastrelay.http.status.write_status"]
    assert uses("writelines", spoken) == []


def test_one_function_writes_the_101() -> None:
    assert uses("SWITCHING_PROTOCOLS", ("fastrelay.",)) == [
        "fastrelay.http.handshake.switch_protocols"
    ]
