"""What tests need beyond Python: it is there, or the test says so; in CI it is never missing."""

import os
import shutil
from typing import NoReturn

import pytest


def needs(program: str, package: str) -> None:
    """Skip the test unless ``program`` is installed (Debian's ``package``); fail it in CI."""
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
        return
    skip_unless_ci(f"{program} is not installed: apt-get install {package}")


def skip_unless_ci(reason: str) -> NoReturn:
    """Skip the test, because something it needs cannot be had here; fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
