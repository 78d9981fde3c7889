"""Inputs kept as text: a line each, a Python bytes literal, so that a change can be read."""

import ast
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent


def corpus_of(target: str) -> Path:
    """What together reaches all code that fuzzing has reached."""
    return HERE / "corpus" / f"{target}.txt"


def crashers_of(target: str) -> Path:
    """What once broke an invariant, found in whatever way."""
    return HERE / "crashers" / f"{target}.txt"


def read(path: Path) -> list[bytes]:
    """The inputs in a file; lines that begin with # say something about the next."""
    lines = path.read_text("ascii").splitlines()
    return [ast.literal_eval(line) for line in lines if not line.startswith("#")]


def write(path: Path, inputs: Iterable[bytes]) -> None:
    """Replace a file's inputs; shortest first, each once."""
    ordered = sorted(set(inputs), key=lambda data: (len(data), data))
    path.write_text("".join(f"{data!r}\n" for data in ordered), "ascii")


def append(path: Path, data: bytes) -> None:
    """Add one input."""
    with path.open("a", encoding="ascii") as file:
        file.write(f"{data!r}\n")
