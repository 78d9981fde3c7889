"""What counting and timing frames costs a round trip: our code as shipped, and with none of it.

Turns cannot tell 2 % from noise on a machine that differs by half from one to the next. So the
instructions of a round trip are counted as well, which are the same in every run.
"""

import ast
import importlib
import importlib.abc
import importlib.machinery
import sys
from types import CodeType
from typing import Final, cast

from bench.compare.contenders import workshop
from bench.compare.instructions import available, count_instructions
from bench.compare.plan import BATCH, SMALL
from bench.experiments.against import compare

COUNTING: Final = {
    "fastrelay.routing.binary",
    "fastrelay.routing.phone",
    "fastrelay.websocket.sender",
}
"""Where a frame that goes through is counted."""

_COUNTS: Final = {"received", "forwarded", "forwarded_bytes"}
LOADS = (SMALL, BATCH)


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
    if available():
        with workshop() as shop:
            shipped, bare = (
                count_instructions(shop, "fastrelay", LOADS, module=module)
                for module in ("fastrelay", "bench.experiments.variant metrics_cost")
            )
        for label in shipped:
            print(
                f"{label:<20} instructions a round trip: shipped {shipped[label]:9,.0f}"
                f"   without {bare[label]:9,.0f}   ratio {shipped[label] / bare[label]:.3f}"
            )
    else:
        print("to count instructions: apt-get install valgrind")
    compare("metrics_cost", sys.modules[__name__], rounds=41, seconds=0.4, count=0)
