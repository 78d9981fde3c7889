"""``fastrelay files DIR``: writes the files that ship beside the code into a directory.

That is the unit, the alert rules, the dashboard, and the examples for proxies and containers. A
wheel has them as data files below ``share/fastrelay``; a checkout has them in ``docs``.
"""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import fastrelay
from fastrelay.config.errors import ConfigurationError
from fastrelay.tools.support.output import tell
from fastrelay.tools.support.parser import CommandLineParser

_INSTALLED: Final = "share/fastrelay/"
_IN_A_CHECKOUT: Final = ("docs/deploy/*", "docs/alerts.y*ml", "docs/grafana-*.json")


def main(arguments: Sequence[str]) -> int:
    """Write the files into the directory of the command line, and list them.

    Returns the exit code: 1 if the list cannot be printed.

    Raises:
        ConfigurationError: this installation has no such files, the directory has other files of
            these names, or it cannot be written to.
    """
    parser = CommandLineParser(
        prog="fastrelay files",
        description="Writes the systemd unit, the alert rules, the dashboard and the examples for"
        " proxies and containers into a directory.",
    )
    parser.add_argument(
        "directory", metavar="DIR", type=Path, help="is created if it does not exist"
    )
    directory: Path = parser.parse(arguments).directory
    contents = {file.name: file.read_bytes() for file in _shipped()}
    if not contents:
        raise ConfigurationError(
            "this installation has no files beside its code", "install the wheel, or a checkout"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _refuse_others(directory, contents)
        for name, content in sorted(contents.items()):
            (directory / name).write_bytes(content)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {str(directory)!r}: {error.strerror}", "name another directory"
        ) from None
    listing = "".join(f"{directory / name}\n" for name in sorted(contents))
    return 0 if tell(parser.prog, listing) else 1


def _refuse_others(directory: Path, contents: dict[str, bytes]) -> None:
    """Refuse to overwrite a file that somebody may have changed."""
    for name, content in contents.items():
        file = directory / name
        if file.exists() and file.read_bytes() != content:
            raise ConfigurationError(
                f"{str(file)!r} is there already, with another content",
                "name an empty directory, and compare the files",
            )


def _shipped() -> list[Path]:
    """The files, where this installation has them."""
    try:
        recorded = metadata.files("fastrelay") or []
    except metadata.PackageNotFoundError:
        recorded = []
    installed = [Path(str(file.locate())) for file in recorded if _INSTALLED in file.as_posix()]
    above = Path(fastrelay.__file__).parents[1]
    # Installed with pip --target, the record says where the files would be without it.
    patterns = (f"{_INSTALLED}*", *_IN_A_CHECKOUT)
    found = [*installed, *(file for pattern in patterns for file in above.glob(pattern))]
    return [file for file in found if file.is_file()]
