"""Programs that tests need beyond Python: there, or the test says so; never missing in CI."""

import os
import shutil

import pytest


def needs(program: str, package: str) -> None:
    """Skip the test unless ``program`` is installed (Debian's ``package``); fail it in CI."""
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
        return
    missing = f"{program} is not installed: apt-get install {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)
