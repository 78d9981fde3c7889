"""The text of ``fastrelay --help``, at most 80 columns wide, made from the table of flags."""

import textwrap
from typing import Final

from fastrelay.config.flags import GROUPS, PREFIX, Flag

_WIDTH: Final = 79
_INDENT: Final = " " * 24

_HEAD: Final = """\
usage: fastrelay [FLAG ...]        run a relay
       fastrelay check [FLAG ...]  say what would run, and with which limits
       fastrelay probe URL         check a relay that runs
       fastrelay top               show what a relay is doing
       fastrelay files DIR         write out unit, alerts, dashboard, examples

Joins phones to the daemon on their user's machine, by server-id.
"""
_TAIL: Final = f"""\
environment:
  Every flag can be given as a variable, --max-phones as {PREFIX}MAX_PHONES.
  Flags count before variables, and variables before the configuration file.

  PYRYCODE_RELAY_PRODUCTION       1: refuse --insecure-listen and root
  PYRYCODE_RELAY_SINGLE_INSTANCE  1: there is one copy of this relay
  PYRYCODE_RELAY_FCM_CREDENTIALS  the JSON key of a service account: push is on

exit codes:
  0  a signal came and every peer was told; or check found nothing wrong
  1  a listener failed while the relay ran
  2  refused to start; stderr says what is wrong and how to fix it

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
                *_row("-h, --help", "this text"),
                *_row("--version", "its version"),
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
