"""Reads options: the command line overrides the environment, which overrides the file.

Of each flag only the source that counts is parsed, but a file with an unknown key is refused
whatever else is given.
"""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from fastrelay.config.errors import ConfigurationError
from fastrelay.config.flags import CONFIG, FLAGS, Flag
from fastrelay.config.spelling import did_you_mean, unknown_variables
from fastrelay.config.values import BadValue, quoted

HELP: Final = "fastrelay --help shows every flag and its default"

_LARGEST_FILE: Final = 1024 * 1024
_LONGEST_PATH: Final = 300
_LARGEST_INTEGER: Final = 64
"""In bits, as TOML has them."""


class _Text(NamedTuple):
    """A value that was given, not parsed yet, and where."""

    text: str
    origin: str


class Given(NamedTuple):
    """A value that was given.

    Attributes:
        origin: the flag, the variable, or the key and its file, as an error names it.
    """

    value: Any
    origin: str


class Options:
    """The flags that were given: on the command line, in the environment, or in the file.

    Attributes:
        unknown_variables: variables named like those of the relay that are none of them.
    """

    def __init__(self, given: Mapping[str, Given], unknown_variables: tuple[str, ...] = ()) -> None:
        self._given = given
        self.unknown_variables = unknown_variables

    def is_given(self, name: str) -> bool:
        """Whether the flag was given a value; a switch that was turned off has none."""
        given = self._given.get(name)
        return given is not None and given.value is not None and given.value is not False

    def __getitem__(self, name: str) -> Any:
        """The value of the flag: what was given, be it empty, or the default."""
        given = self._given.get(name)
        return FLAGS[name].default if given is None else given.value

    def origin(self, name: str) -> str:
        """Where the flag was given; its name if it was not."""
        given = self._given.get(name)
        return name if given is None else given.origin

    def source(self, name: str) -> str:
        """Where the flag was given; ``default`` if it was not."""
        return self._given[name].origin if name in self._given else "default"

    def settings(self, group: str = "") -> dict[str, Any]:
        """The unchanged values of flags for ``limits``, for ``intervals``, or for neither."""
        found = {}
        for flag in FLAGS.values():
            path, _, field = flag.setting.rpartition(".")
            if field and path == group and not flag.computed:
                found[field] = self[flag.name]
        return found


def read_options(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """The options that command line, environment and configuration file give.

    Raises:
        ConfigurationError: one of them is not understood.
    """
    texts = _from_environment(environment) | _from_command_line(arguments)
    if CONFIG in texts:
        file = _parsed(FLAGS[CONFIG], texts[CONFIG])
        texts = _from_file(*file) | texts
    given = {name: _parsed(FLAGS[name], text) for name, text in texts.items()}
    return Options(given, unknown_variables(environment))


def _parsed(flag: Flag, given: _Text) -> Given:
    try:
        return Given(flag.parse(given.text), given.origin)
    except BadValue as bad:
        raise ConfigurationError(f"{given.origin} {bad.what}", bad.fix) from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, _Text]:
    return {
        flag.name: _Text(environment[flag.variable], f"{flag.variable} (environment)")
        for flag in FLAGS.values()
        if flag.variable in environment
    }


def _from_command_line(arguments: Sequence[str]) -> dict[str, _Text]:
    """The flags of the command line, in the spellings of Go: one dash or two, ``=value`` or not.

    Of a flag that is given twice the last one counts, as in Go.
    """
    found = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--" and not rest:
            break
        dashed, equals, text = argument.partition("=")
        name = _name_of(argument)
        if dashed not in {name, name[1:]} or name not in FLAGS:
            _refuse_argument(argument)
        flag = FLAGS[name]
        if not equals:
            text = _following(flag, rest)
        found[name] = _Text(text, name)
    return found


def _following(flag: Flag, rest: list[str]) -> str:
    """The value behind a flag, which is taken from ``rest``; ``true`` where it may be left out."""
    if flag.value == "switch" or (flag.value == "optional" and (not rest or rest[0][:1] == "-")):
        return "true"
    if not rest or (rest[0][:1] == "-" and _name_of(rest[0]) in FLAGS):
        raise ConfigurationError(f"{flag.name} has no value", f"give {flag.name} {flag.metavar}")
    return rest.pop(0)


def _name_of(argument: str) -> str:
    """The name of the flag that an argument would be, with two dashes."""
    return f"--{argument.partition('=')[0].lstrip('-')}"


def _refuse_argument(argument: str) -> NoReturn:
    # What is behind "=" is not shown: it may be a secret.
    name = argument.partition("=")[0]
    if not name.startswith("-"):
        raise ConfigurationError(f"{quoted(name)} is no flag and belongs to none", HELP)
    meant = did_you_mean(_name_of(argument), FLAGS)
    raise ConfigurationError(f"there is no flag {quoted(name)}", f"{meant}{HELP}")


def _from_file(path: str, origin: str) -> dict[str, _Text]:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise ValueError(f"it is larger than {_LARGEST_FILE} bytes")
        table = tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigurationError(
            f"{origin}: cannot read {quoted(path, _LONGEST_PATH)}: {error.strerror}",
            "name a TOML file that the relay may read",
        ) from None
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, UnicodeDecodeError):
            why = f"byte {error.start} is not UTF-8"
        raise ConfigurationError(
            f"{origin}: {quoted(path, _LONGEST_PATH)} is not TOML: {why}",
            "write a line for each flag, for example max-phones = 16",
        ) from None
    return dict(_entry(key, value, path) for key, value in table.items())


def _entry(key: str, value: object, path: str) -> tuple[str, _Text]:
    name = f"--{key}"
    shown = key if key.isprintable() and len(key) < 80 else quoted(key)
    origin = f"{shown} (in {quoted(path, _LONGEST_PATH)})"
    if name not in FLAGS or name == CONFIG:
        meant = did_you_mean(key, (flag.key for flag in FLAGS.values() if flag.name != CONFIG))
        raise ConfigurationError(
            f"{origin} is not a key of the configuration file",
            f"{meant}the keys are the flags without their dashes, and there are no tables",
        )
    return name, _Text(_as_text(FLAGS[name], value, origin), origin)


def _as_text(flag: Flag, value: object, origin: str) -> str:
    """A value of the file as it would be written on the command line."""
    many = flag.metavar.endswith("[,...]")
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() if value.bit_length() > _LARGEST_INTEGER:
            raise ConfigurationError(f"{origin} is too large a number", "give a smaller one")
        case int() | float():
            return repr(value)
        case list() if many and all(isinstance(entry, str) for entry in value):
            # With the space an entry "true" is no word for a switch, but a network that is none.
            return ",".join(f" {entry}" for entry in value)
    kinds = "a string, or a list of strings" if many else "a string, a number, true or false"
    raise ConfigurationError(f"{origin} is of a type that this flag does not take", f"give {kinds}")
