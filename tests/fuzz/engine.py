"""The process in which libFuzzer runs: ``python -m tests.fuzz.engine TARGET libfuzzer-arguments``.

What is fuzzed and its oracles are instrumented as they are imported, so this comes first.
"""

import importlib
import sys

import atheris

from tests.fuzz import TARGETS


def main() -> None:
    """Run until libFuzzer ends the process."""
    target = sys.argv.pop(1)
    assert target in TARGETS
    with atheris.instrument_imports(include=["fastrelay", "h11", "wsproto", "tests.support"]):
        module = importlib.import_module(f"tests.fuzz.{target}")
    # libFuzzer starts the steps of a merge through a shell, by this name.
    sys.argv[0] = f"{sys.executable} -m tests.fuzz.engine {target}"
    atheris.Setup(sys.argv, module.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
