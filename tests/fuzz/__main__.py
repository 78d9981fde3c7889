"""``python -m tests.fuzz TARGET --seconds N``: fuzz, keep what was learnt, say what was found.

Needs the extra ``fuzz``.
"""

import argparse
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz import TARGETS, corpus

MAX_BYTES = 2048
SLOWEST_INPUT = 10


def main() -> int:
    """Exit code 0: nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return _fuzz(arguments.target, arguments.seconds, Path(name))


def _fuzz(target: str, seconds: int, base: Path) -> int:
    learnt, merged, found = (base / name for name in ("learnt", "merged", "found"))
    for directory in (learnt, merged, found):
        directory.mkdir()
    kept = corpus.read(corpus.corpus_of(target))
    for number, data in enumerate(kept):
        (learnt / str(number)).write_bytes(data)
    words = base / "words"
    words.write_text(_dictionary(importlib.import_module(f"tests.fuzz.{target}").WORDS), "ascii")
    fuzzed = _engine(
        target,
        learnt,
        f"-dict={words}",
        f"-artifact_prefix={found}/",
        f"-max_total_time={seconds}",
        f"-timeout={SLOWEST_INPUT}",
        "-print_final_stats=1",
    )
    for crasher in sorted(found.iterdir()):
        corpus.append(corpus.crashers_of(target), crasher.read_bytes())
        print(f"{crasher.name}: added to {corpus.crashers_of(target)}")
    # Fewest inputs first: libFuzzer keeps those of the first directory that add anything.
    merging = _engine(target, merged, learnt, "-merge=1", "-verbosity=0")
    if merging:
        return merging
    inputs = [file.read_bytes() for file in merged.iterdir()]
    corpus.write(corpus.corpus_of(target), inputs)
    print(f"{target}: {len(kept)} inputs before, {len(inputs)} now")
    return fuzzed


def _engine(target: str, *arguments: object) -> int:
    command = (sys.executable, "-m", "tests.fuzz.engine", target, f"-max_len={MAX_BYTES}")
    return subprocess.run([*command, *map(str, arguments)], check=False).returncode


def _dictionary(words: Iterable[bytes]) -> str:
    """libFuzzer's format: a quoted string a line."""
    lines = ["".join(rf"\x{byte:02x}" for byte in word) for word in words]
    return "".join(f'"{line}"\n' for line in lines)


if __name__ == "__main__":
    sys.exit(main())
