"""What the figures were measured on: machine and versions, in one line."""

import os
import platform
import re
import shutil
import ssl
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("uvloop", "h11", "msgspec", "websockets", "aiohttp", "picows")
_PROGRAMS = {"Go": ("go", "version"), "HAProxy": ("haproxy", "-v")}


def describe() -> str:
    """Processor, memory, kernel, and the versions of everything that took part."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [
        f"{os.cpu_count()} cores of {_processor()}",
        f"{memory:.0f} GiB",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        " ".join(ssl.OPENSSL_VERSION.split()[:2]),
        *_packages(),
        *_programs(),
    ]
    return ", ".join(parts)


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _packages() -> list[str]:
    named = []
    for package in _PACKAGES:
        try:
            named.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return named


def _programs() -> list[str]:
    named = []
    for label, (program, flag) in _PROGRAMS.items():
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if path is not None:
            said = subprocess.run((path, flag), capture_output=True, text=True, check=False).stdout
            if found := re.search(r"\d+\.\d+(\.\d+)?", said):
                named.append(f"{label} {found[0]}")
    return named
