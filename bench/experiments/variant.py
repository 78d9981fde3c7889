"""fastrelay with one thing changed: ``python -m bench.experiments.variant NAME FLAGS``."""

import importlib
import sys

if __name__ == "__main__":
    importlib.import_module(f"bench.experiments.{sys.argv[1]}").change()
    # Only now: a change may be to how the relay's modules are loaded.
    sys.exit(importlib.import_module("fastrelay.cli").main(sys.argv[2:]))
