"""What the image installs: all of it locked with hashes, all of it in the bill, all licensed."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
LOCK = REPOSITORY / "docs/deploy/requirements.lock"
IMAGE_EXTRAS = ("acme", "push")

PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"),
    *("Apache Software License", "Apache License 2.0", "BSD License", "ISC License (ISCL)"),
    *("MIT License", "Python Software Foundation License", "Unlicense", "Zlib", "CC0-1.0"),
}
WEAK_COPYLEFT = {"MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"}
"""Used as it is, unchanged: nothing to publish."""


def locked() -> dict[str, tuple[str, list[str]]]:
    """Version and hashes by canonical name."""
    entry = re.compile(
        r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", re.MULTILINE
    )
    return {
        canonicalize_name(name): (version, re.findall(r"sha256:(\w+)", hashes))
        for name, version, hashes in entry.findall(LOCK.read_text())
    }


def in_image(python: str) -> dict[str, str]:
    """The environment that markers of the image's dependencies are read in."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": "x86_64",
    }


def asked_for(requirement: Requirement, extras: set[str], python: str) -> bool:
    """Whether a dependency is one, with these extras of the package that names it."""
    if requirement.marker is None:
        return True
    return any(
        requirement.marker.evaluate(in_image(python) | {"extra": extra}) for extra in extras | {""}
    )


def test_the_lock_is_pins_with_hashes_and_nothing_else() -> None:
    text = LOCK.read_text()
    pins = locked()
    assert "://" not in text
    assert len(pins) == len(re.findall(r"^[^#\s]", text, re.MULTILINE))
    for name, (_, hashes) in pins.items():
        assert hashes, name


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_has_all_that_the_project_needs_and_all_that_that_needs(python: str) -> None:
    """Each requirement of each, as the installed packages state them."""
    pins = locked()
    extras = PROJECT["optional-dependencies"]
    texts = (*PROJECT["dependencies"], *(text for name in IMAGE_EXTRAS for text in extras[name]))
    pending = [Requirement(text) for text in texts]
    seen: set[str] = set()
    while pending:
        requirement = pending.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        version, _ = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement
        needs = map(Requirement, metadata.requires(requirement.name) or ())
        pending += [need for need in needs if asked_for(need, requirement.extras, python)]
    unneeded = pins.keys() - {canonicalize_name(Requirement(text).name) for text in seen}
    # setuptools builds the project's own wheel; later Pythons need no typing-extensions.
    assert unneeded <= {"setuptools", "typing-extensions"}


@pytest.mark.slow
def test_the_documented_command_makes_a_bill_of_materials(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs/supply-chain.md").read_text()
    found = re.search(r"^    \.venv/bin/(cyclonedx-py requirements .*)$", text, re.MULTILINE)
    assert found
    command = [sys.executable, "-m", "cyclonedx_py", *found[1].split()[1:]]
    bill = tmp_path / "sbom.json"
    command[command.index("-o") + 1] = str(bill)
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=60)
    made: dict[str, Any] = json.loads(bill.read_text())
    assert made["bomFormat"] == "CycloneDX"
    assert made["metadata"]["component"]["name"] == PROJECT["name"]
    components = {
        canonicalize_name(component["name"]): (
            component["version"],
            [entry["content"] for entry in component["externalReferences"][0]["hashes"]],
        )
        for component in made["components"]
    }
    assert components == locked()


# -- licences --------------------------------------------------------------------------------------


def licences() -> dict[str, str]:
    """By canonical name, from the tables of ``docs/licences.md``."""
    text = (REPOSITORY / "docs/licences.md").read_text()
    rows = re.findall(r"^\| ([\w.-]+) +\| (.+?) +\|", text, re.MULTILINE)
    return {canonicalize_name(name): licence for name, licence in rows if name != "Name"}


def test_every_locked_package_and_every_extra_has_its_licence_listed() -> None:
    extras = PROJECT["optional-dependencies"].values()
    named = [Requirement(text).name for extra in extras for text in extra]
    listed = licences()
    missing = {*locked(), *map(canonicalize_name, named)} - listed.keys() - {PROJECT["name"]}
    assert not missing


def test_every_licence_is_one_we_may_use() -> None:
    allowed = PERMISSIVE | WEAK_COPYLEFT
    for name, licence in licences().items():
        parts = re.split(r"; | AND | OR ", licence)
        assert allowed.issuperset(parts), (name, licence)
