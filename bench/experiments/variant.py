"""fastrelay with one thing changed: ``python -m bench.experiments.variant NAME FLAGS``."""

import importlib
import sys

from fastrelay.cli import main

if __name__ == "__main__":
    importlib.import_module(f"bench.experiments.{sys.argv[1]}").change()
    sys.exit(main(sys.argv[2:]))
