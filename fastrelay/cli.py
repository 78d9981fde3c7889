"""The command line: ``fastrelay [flags]`` runs a relay, and ``check`` prints its settings.

``probe`` checks a running relay, ``top`` shows one, and ``files`` writes the files that ship with
it to a directory.
"""

import contextlib
import os
import sys
from collections.abc import Sequence

from fastrelay import __version__
from fastrelay.config.errors import ConfigurationError
from fastrelay.config.from_flags import asks_to_listen, read_settings
from fastrelay.config.help import help_text
from fastrelay.config.settings import Settings
from fastrelay.config.sources import HELP, read_options
from fastrelay.config.spelling import did_you_mean
from fastrelay.config.values import quoted
from fastrelay.process.check import check
from fastrelay.process.run import bind_and_run
from fastrelay.process.standard_descriptors import occupy_standard_descriptors
from fastrelay.tools.files import main as files
from fastrelay.tools.probe.command import main as probe
from fastrelay.tools.support.output import tell
from fastrelay.tools.top.command import main as top

EXIT_OK = 0
EXIT_UNPRINTED = 1
EXIT_REFUSED = 2

_PROGRAM = "fastrelay"

_USAGE = """\
fastrelay: no listener was asked for

  fastrelay --insecure-listen 127.0.0.1:8080   runs a relay on plain HTTP: for development, or
                                               behind a proxy that ends TLS
  fastrelay --domain relay.example.org         runs one with TLS and certificates of its own
  fastrelay probe ws://127.0.0.1:8080          checks a relay that runs
  fastrelay top                                shows what it is doing

  fastrelay --help                             shows all flags
"""
_TOOLS = {"probe": probe, "top": top, "files": files}
_CHECK = "check"
_HELP = frozenset({"-h", "-help", "--help"})
_VERSION = frozenset({"-version", "--version"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    occupy_standard_descriptors()
    try:
        return _command(sys.argv[1:] if arguments is None else arguments)
    finally:
        _finish_stderr()


def _command(arguments: Sequence[str]) -> int:
    try:
        if arguments and arguments[0] in _TOOLS:
            return _TOOLS[arguments[0]](arguments[1:])
        return _relay(arguments)
    except ConfigurationError as refusal:
        _say(f"fastrelay: {refusal.what}\nfastrelay: {refusal.fix}\n")
        return EXIT_REFUSED


def _serve(settings: Settings) -> int:
    """Run a relay: in this process, or in others that this one starts and watches."""
    if settings.workers == 1 and not settings.supervised:
        return bind_and_run(settings)
    # Imported here, because one process has no use for it.
    from fastrelay.process.workers.supervisor import bind_and_supervise

    return bind_and_supervise(settings)


def _relay(arguments: Sequence[str]) -> int:
    """Run a relay, or say what would run, which flags there are, or which version this is."""
    if not _HELP.isdisjoint(arguments):
        return EXIT_OK if tell(_PROGRAM, help_text()) else EXIT_UNPRINTED
    if not _VERSION.isdisjoint(arguments):
        return EXIT_OK if tell(_PROGRAM, f"{__version__}\n") else EXIT_UNPRINTED
    only_check = bool(arguments) and arguments[0] == _CHECK
    if arguments and not only_check:
        _refuse_unknown_command(arguments[0])
    options = read_options(arguments[1:] if only_check else arguments, os.environ)
    if not asks_to_listen(options):
        _say(_USAGE)
        return EXIT_REFUSED
    settings = read_settings(options, os.environ)
    if only_check:
        tell(_PROGRAM, check(options, settings))  # the exit code tells the result in any case
        return EXIT_OK
    return _serve(settings)


def _refuse_unknown_command(word: str) -> None:
    """Refuse a first argument that can only be a command, and is none."""
    if not word.startswith("-"):
        meant = did_you_mean(word, (_CHECK, *_TOOLS, "--help", "--version"))
        raise ConfigurationError(f"there is no command {quoted(word)}", f"{meant}{HELP}")


def _say(text: str) -> None:
    """Write to stderr; the exit code tells that it was refused where that is not possible."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)


def _finish_stderr() -> None:
    """Give up what stderr does not take; Python would try again at exit, and exit with 120."""
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except OSError:
            with contextlib.suppress(OSError):
                sys.stderr.close()
