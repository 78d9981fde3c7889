"""fastrelay with the garbage collector as Python sets it."""

import sys

import fastrelay.serve
from fastrelay.cli import main

fastrelay.serve.tame_garbage_collector = lambda: None

if __name__ == "__main__":
    sys.exit(main())
