"""The text of ``fastrelay --help``, at most 80 columns wide, made from the table of flags."""

import textwrap
from typing import Final

from fastrelay.config.flags import GROUPS, PREFIX, Flag

_WIDTH: Final = 79
_INDENT: Final = " " * 24

_HEAD: Final = """\
usage: fastrelay [FLAG ...]        run a relay
       fastrelay check [FLAG ...]  print the settings that would apply
       fastrelay probe URL         check a running relay
       fastrelay top               show what a running relay is doing
       fastrelay files DIR         write unit, alerts, dashboard and examples

A WebSocket relay that connects phones with the daemon on their user's machine.
"""
_TAIL: Final = f"""\
environment:
  Every flag can also be given as a variable, for example --max-phones as
  {PREFIX}MAX_PHONES. A flag overrides its variable, and a variable overrides
  the configuration file.

  PYRYCODE_RELAY_PRODUCTION       1: refuse --insecure-listen, and refuse to
                                  run as root
  PYRYCODE_RELAY_SINGLE_INSTANCE  1: only one copy of this relay runs
  PYRYCODE_RELAY_FCM_CREDENTIALS  the JSON key of a service account; it turns
                                  push on

exit codes:
  0  the relay was stopped by a signal; or check found nothing wrong
  1  a listener failed, or workers died before they were ready
  2  the relay refused to start; stderr says what is wrong and how to fix it

examples:
  fastrelay --insecure-listen 127.0.0.1:8080
  fastrelay --domain relay.example.org --acme-email ops@example.org
  fastrelay --tls-cert chain.pem --tls-key key.pem --max-held-bytes 1GiB
  {PREFIX}MAX_PHONES=4 fastrelay --config /etc/fastrelay.toml
  fastrelay check --config /etc/fastrelay.toml

See also: fastrelay probe --help, fastrelay top --help.
"""


def help_text() -> str:
    """The text, with the line end after its last line."""
    parts = [_HEAD]
    for group in GROUPS:
        lines = [f"{group.title}:"]
        if group.description:
            lines += textwrap.wrap(
                group.description, _WIDTH, initial_indent="  ", subsequent_indent="  "
            )
        for flag in group.flags:
            lines += _entry(flag)
        parts.append("\n".join(lines) + "\n")
    parts.append(
        "\n".join(
            [
                "about the command:",
                *_row("-h, --help", "print this text"),
                *_row("--version", "print the version"),
            ]
        )
        + "\n"
    )
    parts.append(_TAIL)
    return "\n".join(parts)


def _entry(flag: Flag) -> list[str]:
    metavar = {"required": f" {flag.metavar}", "optional": f" [{flag.metavar}]", "switch": ""}
    shown = f"{flag.help} (default: {flag.shown})" if flag.shown else flag.help
    return _row(flag.name + metavar[flag.value], shown)


def _row(name: str, text: str) -> list[str]:
    lines = textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    head = f"  {name}"
    if len(head) + 2 <= len(_INDENT):
        return [head.ljust(len(_INDENT)) + lines[0].lstrip(), *lines[1:]]
    return [head, *lines]
