"""What counting and timing frames costs a round trip: our code as shipped, and with none of it.

Turns cannot tell 2 % from noise on a machine that differs by half from one to the next. So valgrind
counts the instructions of a round trip in memory as well: exact, and without the two thirds of a
round trip that are the kernel's and the loop's, in which there are no metrics.

Found: TODO
"""

import ast
import asyncio
import importlib
import importlib.abc
import importlib.machinery
import os
import re
import shutil
import subprocess
import sys
from types import CodeType
from typing import Final, cast

from bench.compare.plan import BATCH, SMALL
from bench.experiments.against import compare

COUNTING: Final = {
    "fastrelay.routing.binary",
    "fastrelay.routing.phone",
    "fastrelay.websocket.connection",
}
"""Where a frame that goes through is counted."""

_COUNTS: Final = {"received", "forwarded", "forwarded_bytes"}
LOADS = (SMALL, BATCH)
_FEW, _MANY = 20, 120


class _Stripper(ast.NodeTransformer):
    """Takes out of a module what counts and what asks whether to time."""

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """``counts.received += …`` does nothing."""
        counts = isinstance(node.target, ast.Attribute) and node.target.attr in _COUNTS
        return ast.copy_location(ast.Pass(), node) if counts else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """``counts.received >= counts.sample_at`` is not asked: it is not time."""
        last = node.comparators[-1]
        if not isinstance(last, ast.Attribute) or last.attr != "sample_at":
            return node
        return ast.copy_location(ast.Constant(isinstance(node.ops[0], ast.Lt)), node)


def without_counting(source: str) -> str:
    """A module's source with nothing in it that counts frames or times them."""
    return ast.unparse(ast.fix_missing_locations(_Stripper().visit(ast.parse(source))))


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        bare = without_counting(self.get_data(self.path).decode())
        return cast("CodeType", compile(bare, self.path, "exec"))


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in COUNTING:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, cast("list[str]", path))
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(fullname, spec.origin)
        return spec


def change() -> None:
    """Load the relay without."""
    sys.meta_path.insert(0, _Finder())


def main() -> None:
    """Instructions, if there is a valgrind, then CPU in turns."""
    if shutil.which("valgrind") is None:
        print("to count instructions: apt-get install valgrind")
    else:
        for load in LOADS:
            shipped, bare = (
                _instructions(how, load.size, load.window) for how in ("shipped", "bare")
            )
            print(
                f"{load.label:<20} instructions a round trip: shipped {shipped:9,.0f}"
                f"   without {bare:9,.0f}   ratio {shipped / bare:.3f}"
            )
    compare("metrics_cost", sys.modules[__name__], rounds=41, seconds=0.4, count=0)


def _instructions(how: str, size: int, window: int) -> float:
    """A round trip's, from the difference of two runs."""
    few, many = (_count(how, size, window, rounds) for rounds in (_FEW, _MANY))
    return (many - few) / ((_MANY - _FEW) * window)


def _count(how: str, size: int, window: int, rounds: int) -> int:
    child = (sys.executable, "-m", __name__, how, *map(str, (size, window, rounds)))
    valgrind = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
    # The same hashes and addresses in each run, or dictionaries would differ.
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    said = subprocess.run(
        (*valgrind, *child), env=environment, capture_output=True, text=True, check=True
    )
    collected = re.search(r"Collected : (\d+)", said.stderr)
    assert collected, said.stderr
    return int(collected[1])


def _converse(size: int, window: int, rounds: int) -> int:
    """Phone, relay, binary, relay, phone; ``window`` messages at once. Returns how many came."""
    from bench.support.in_memory import make_site, upgrade
    from bench.support.wire import binary_handshake, client_frame, header_size, phone_handshake

    loop = asyncio.new_event_loop()
    site = make_site(loop)
    binary = upgrade(site, binary_handshake("bench"))
    phone = upgrade(site, phone_handshake("bench"))
    asked = client_frame(b'"' + b"x" * (size - 2) + b'"') * window
    phone.receive(asked)
    envelope = b"".join(binary.written[1:])
    begin = envelope.index(b"{")
    answer = client_frame(envelope[begin : envelope.index(b"}", begin) + 1]) * window
    came, one = 0, header_size(size) + size
    for _ in range(rounds):
        phone.receive(asked)
        binary.receive(answer)
        came += sum(map(len, phone.written)) // one
        phone.written.clear()
        binary.written.clear()
    site.wheel.close()
    loop.close()
    return came


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        change()
    print(_converse(*map(int, sys.argv[2:])))
