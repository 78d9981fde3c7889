"""``python -m fastrelay``: the same command as ``fastrelay``."""

import sys

from fastrelay.cli import main

sys.exit(main())
