"""fastrelay with the garbage collector as Python sets it."""

import sys

import fastrelay.process.run
from fastrelay.cli import main

fastrelay.process.garbage_collection.configure_gc = lambda: None

if __name__ == "__main__":
    sys.exit(main())
