"""Command line, environment and file: their spellings, which of them counts, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from fastrelay.config.errors import ConfigurationError
from fastrelay.config.flags import FLAGS
from fastrelay.config.from_flags import read_settings
from fastrelay.config.settings import Settings
from fastrelay.config.sources import Options, read_options
from fastrelay.config.spelling import ignored

PLAIN = ("--insecure-listen", "127.0.0.1:8080")
VALUES = {
    "--insecure-listen": "127.0.0.1:1",
    "--domain": "a.example",
    "--https-listen": ":2",
    "--http-listen": ":3",
    "--cert-cache": "/cache",
    "--acme-directory": "https://ca.example/d",
    "--acme-email": "a@b.example",
    "--https-proxy-protocol": "true",
    "--proxy-protocol-from": "10.0.0.0/8",
    "--metrics-listen": "[::1]:4",
    "--trust-x-forwarded-for": "10.0.0.0/8",
    "--workers": "3",
    "--supervised": "true",
    "--push-endpoint": "https://a.example",
    "--push-token-url": "https://b.example",
    "--log-level": "debug",
    "--log-format": "json",
}
"""A value that is not the default, of each flag that takes no number, size or file."""


def other_than_default(name: str) -> str:
    return VALUES.get(name) or ("some.pem" if FLAGS[name].metavar == "FILE" else "321")


def as_toml(text: str) -> str:
    return text if text.isdigit() or text == "true" else f'"{text}"'


def settings(*arguments: str, **environment: str) -> Settings:
    return read_settings(read_options(arguments, environment), environment)


def refused(*arguments: str, **environment: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refusal:
        settings(*arguments, **environment)
    error = refusal.value
    assert error.what
    assert error.fix
    assert len((error.what + error.fix).splitlines()) == 1
    assert len(error.what) < 600
    return error


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fastrelay.toml"


ELSEWHERE = [name for name in FLAGS if name != "--config"]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_every_flag_in_every_place(name: str, file: Path) -> None:
    flag, text = FLAGS[name], other_than_default(name)
    expected = flag.parse(text)
    file.write_text(f"{flag.key} = {as_toml(text)}\n")
    ways: list[tuple[list[str], dict[str, str]]] = [
        ([f"{name}={text}"], {}),
        ([f"{name[1:]}={text}"], {}),
        ([], {flag.variable: text}),
        (["--config", str(file)], {}),
        ([], {"FASTRELAY_CONFIG": str(file)}),
    ]
    if flag.value == "required":
        ways += [([name, text], {}), ([name[1:], text], {})]
    assert expected != flag.default
    for arguments, environment in ways:
        options = read_options(arguments, environment)
        assert options[name] == expected
        assert options.is_given(name)
        assert not options.unknown_variables


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_flag_before_the_environment_before_the_file(name: str, file: Path) -> None:
    """The places that do not count hold nonsense, which is not even parsed."""
    flag, text = FLAGS[name], other_than_default(name)
    file.write_text(f'{flag.key} = "\\u0000"\n')
    config = {"FASTRELAY_CONFIG": str(file)}
    expected = flag.parse(text)
    assert read_options([f"{name}={text}"], config | {flag.variable: "\0"})[name] == expected
    assert read_options([], config | {flag.variable: text})[name] == expected
    file.write_text(f"{flag.key} = {as_toml(text)}\n")
    assert read_options([], config)[name] == expected


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_error_names_the_place(name: str, file: Path) -> None:
    flag = FLAGS[name]
    file.write_text(f'{flag.key} = "\\u0000"\n')
    assert refused("--config", str(file)).what.startswith(f"{flag.key} (in '{file}') ")
    assert refused(**{flag.variable: "\0"}).what.startswith(f"{flag.variable} (environment) ")
    assert refused(f"{name}=\0").what.startswith(f"{name} ")


@pytest.mark.parametrize("name", ["--https-proxy-protocol", "--trust-x-forwarded-for"])
def test_a_switch_that_is_turned_off(name: str, file: Path) -> None:
    """It overrides what is further back, and is no flag that some mode would ignore."""
    flag = FLAGS[name]
    file.write_text(f"{flag.key} = true\n")
    for off in ([f"{name}=false"], [f"{name[1:]}=0"]):
        options = read_options([*PLAIN, *off, "--config", str(file)], {flag.variable: "true"})
        assert not options.is_given(name)
        assert not options[name]
        read_settings(options, {})
    file.write_text(f"{flag.key} = false\n")
    assert not read_options(["--config", str(file)], {})[name]
    assert not read_options([], {flag.variable: "f"})[name]


def test_a_switch_without_a_value_is_on() -> None:
    assert read_options(["-https-proxy-protocol"], {})["--https-proxy-protocol"] is True
    for last in (["-trust-x-forwarded-for"], ["--trust-x-forwarded-for", "-max-phones", "2"]):
        assert read_options(last, {})["--trust-x-forwarded-for"] == ()


def test_the_last_of_two_counts_as_in_go() -> None:
    assert read_options(["-max-phones=2", "--max-phones", "3", "--"], {})["--max-phones"] == 3


@pytest.mark.parametrize(
    ("toml", "value"),
    [
        ('trust-x-forwarded-for = ["10.0.0.0/8", "fd00::/8"]', "10.0.0.0/8,fd00::/8"),
        ('proxy-protocol-from = ["192.0.2.7"]', "192.0.2.7"),
        ('proxy-protocol-from = "192.0.2.7, ::1"', "192.0.2.7,::1"),
        ('max-held-bytes = "1 GiB"', str(2**30)),
        ("max-held-bytes = 0x40000000", str(2**30)),
        ("max-held-bytes = 1_073_741_824", str(2**30)),
        ('max-phones = "3"', "3"),
        ("grace = 2", "2"),
        ("grace = 2.5", "2.5"),
    ],
)
def test_values_as_toml_writes_them(toml: str, value: str, file: Path) -> None:
    file.write_text(toml)
    name = f"--{toml.partition(' ')[0]}"
    assert read_options(["--config", str(file)], {})[name] == FLAGS[name].parse(value)


@pytest.mark.parametrize(
    ("toml", "what"),
    [
        ("max-fones = 3", "max-fones (in "),
        ("max_phones = 3", "max_phones (in "),
        ("[limits]\nmax-phones = 3", "limits (in "),
        ('config = "other.toml"', "config (in "),
        ('password = "s3cret"', "password (in "),
        ('"a\\nb" = 1', "'a\\nb' (in "),
        ("max-phones = [3]", "max-phones (in "),
        ("max-phones = true", "'true' is not a whole number"),
        ("max-phones = 3.0", "'3.0' is not a whole number"),
        ("max-phones = inf", "'inf' is not a whole number"),
        ("max-phones = 2024-01-01", "of a type"),
        (f"max-phones = 0x{'f' * 5000}", "too large a number"),
        (f"max-phones = {'9' * 5000}", "is not TOML"),
        ("grace = nan", "'nan' is not a number"),
        ("grace = -1", "'-1' is not a number"),
        ("grace = {seconds = 3}", "of a type"),
        ("https-proxy-protocol = []", "of a type"),
        ("trust-x-forwarded-for = []", "names no network"),
        ('trust-x-forwarded-for = ["true"]', "names no network"),
        ("trust-x-forwarded-for = [true]", "of a type"),
        ("proxy-protocol-from = [[]]", "of a type"),
        ('domain = "s3cret', "is not TOML"),
        ("max-phones = 1\nmax-phones = 2", "is not TOML"),
        ("a = " + "[" * 100_000, "is not TOML"),
        ("\ufeffgrace = 1", "is not TOML"),
        ("#" * 2**21, "is larger than"),
    ],
)
def test_files_that_are_refused(toml: str, what: str, file: Path) -> None:
    file.write_text(toml)
    error = refused(*PLAIN, "--config", str(file))
    assert what in error.what
    assert str(file) in error.what
    assert "s3cret" not in error.what + error.fix


def test_a_wrong_spelling_is_guessed(file: Path) -> None:
    file.write_text("max_phones = 3")
    assert "did you mean max-phones?" in refused("--config", str(file)).fix
    assert "did you mean --max-phones?" in refused("--max-phone", "3").fix
    file.write_text("config = 'other.toml'")
    assert "did you mean" not in refused("--config", str(file)).fix


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):
        for place in ({"FASTRELAY_CONFIG": str(path)}, {}):
            arguments = () if place else ("--config", str(path))
            error = refused(*PLAIN, *arguments, **place)
            assert error.what.startswith(*place or ("--config",))
            assert why in error.what
    assert "names no file" in refused(*PLAIN, FASTRELAY_CONFIG="").what
    (tmp_path / "latin").write_bytes(b"domain = '\xff'")
    assert "byte 10 is not UTF-8" in refused("--config", str(tmp_path / "latin")).what
    assert "is larger than" in refused("--config", "/dev/zero").what


def test_the_file_of_the_flag_before_that_of_the_environment(file: Path) -> None:
    file.write_text("max-phones = 3")
    options = read_options(["--config", str(file)], {"FASTRELAY_CONFIG": "/nowhere"})
    assert options["--max-phones"] == 3


@pytest.mark.parametrize(
    ("name", "variable"),
    [("--max-phones", "FASTRELAY_MAX_PHONES"), ("--grace", "FASTRELAY_GRACE")],
)
def test_an_empty_variable_is_an_empty_value(name: str, variable: str) -> None:
    assert refused(*PLAIN, **{variable: ""}).what.startswith(f"{variable} (environment) ''")


def test_an_empty_variable_that_means_something() -> None:
    assert settings(*PLAIN, FASTRELAY_METRICS_LISTEN="").metrics_listen is None


def test_variables_that_are_no_flags_are_remembered_and_not_refused() -> None:
    kubernetes = {"FASTRELAY_PORT": "tcp://10.0.0.1:80", "FASTRELAY_SERVICE_HOST": "10.0.0.1"}
    found = settings(*PLAIN, **kubernetes, FASTRELAY_max_phones="2", PATH="x")
    assert found.unknown_variables == (*sorted(kubernetes), "FASTRELAY_max_phones")
    assert found.limits.phones == 16


def test_variables_of_the_relay_are_looked_at_whatever_they_begin_with() -> None:
    known = {"PYRYCODE_RELAY_SINGLE_INSTANCE": "1", "FASTRELAY_GRACE": "3"}
    found = settings(*PLAIN, **known, PYRYCODE_RELAY_PRODUCTON="1", PYRYCODE_OTHER="x")
    assert found.unknown_variables == ("PYRYCODE_RELAY_PRODUCTON",)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("FASTRELAY_MAX_PHONE", "FASTRELAY_MAX_PHONES"),
        ("FASTRELAY_max_phones", "FASTRELAY_MAX_PHONES"),
        ("PYRYCODE_RELAY_PRODUCTON", "PYRYCODE_RELAY_PRODUCTION"),
        ("PYRYCODE_RELAY_FCM_CREDENTIAL", "PYRYCODE_RELAY_FCM_CREDENTIALS"),
        ("FASTRELAY_SERVICE_HOST", ""),
        ("FASTRELAY_SERVICE_PORT_HTTPS", ""),
        ("FASTRELAY_PORT_8080_TCP_PROTO", ""),
        ("PYRYCODE_RELAY_SERVICE_PORT", ""),
        ("PYRYCODE_RELAY_PORT", ""),
    ],
)
def test_what_a_variable_may_have_been_meant_to_be(variable: str, meant: str) -> None:
    guess = f" (did you mean {meant}?)" if meant else ""
    assert ignored([variable]) == f"these variables are ignored: {variable}{guess}"


# -- what excludes what, across places -------------------------------------------------------------

ACROSS: dict[str, tuple[tuple[str, ...], dict[str, str], str, list[str]]] = {
    "two modes": (PLAIN, {}, 'domain = "a.example"', ["--insecure-listen", "domain (in "]),
    "mode and ignored flag": (
        ("--tls-cert", "c", "--tls-key", "k"),
        {"FASTRELAY_ACME_EMAIL": "a@b"},
        "",
        ["FASTRELAY_ACME_EMAIL (environment) does nothing", "--tls-cert"],
    ),
    "half of a pair": (("--tls-cert", "c"), {}, "", ["--tls-key is missing"]),
    "the old and the new name": (
        (*PLAIN, "--max-held-bytes", "1GiB"),
        {},
        'max-buffered-bytes = "1GiB"',
        ["max-buffered-bytes (in ", "is the old name of --max-held-bytes"],
    ),
    "too small a budget": (
        PLAIN,
        {"FASTRELAY_MAX_HELD_BYTES": "1MiB"},
        'max-message-bytes = "1MiB"',
        ["FASTRELAY_MAX_HELD_BYTES (environment) 1048576", "max-message-bytes (in "],
    ),
    "networks without their switch": (
        ("--domain", "a.example"),
        {"FASTRELAY_HTTPS_PROXY_PROTOCOL": "false"},
        'proxy-protocol-from = ["10.0.0.0/8"]',
        ["proxy-protocol-from (in ", "FASTRELAY_HTTPS_PROXY_PROTOCOL"],
    ),
    "push without credentials": (
        PLAIN,
        {},
        'push-endpoint = "https://a.example"',
        ["push-endpoint (in ", "push is off"],
    ),
    "too many connections": (
        PLAIN,
        {"FASTRELAY_MAX_CONNECTIONS": "1000000000"},
        "",
        ["FASTRELAY_MAX_CONNECTIONS (environment) 1000000000 needs more"],
    ),
    "a CA file": (
        ("--domain", "a.example"),
        {"FASTRELAY_ACME_CA_FILE": "/dev/null"},
        "",
        ["FASTRELAY_ACME_CA_FILE (environment) '/dev/null': no certificates in it"],
    ),
    "plain HTTP in production": (
        (),
        {"FASTRELAY_INSECURE_LISTEN": ":8080", "PYRYCODE_RELAY_PRODUCTION": "1"},
        "",
        ["FASTRELAY_INSECURE_LISTEN (environment) is refused while PYRYCODE_RELAY_PRODUCTION"],
    ),
}


@pytest.mark.parametrize(
    ("arguments", "environment", "toml", "what"), ACROSS.values(), ids=ACROSS.keys()
)
def test_what_excludes_one_another_across_places(
    arguments: tuple[str, ...], environment: dict[str, str], toml: str, what: list[str], file: Path
) -> None:
    file.write_text(toml)
    error = refused(*arguments, "--config", str(file), **environment)
    for part in what:
        assert part in error.what


def test_an_option_is_looked_up_by_a_name_that_is_in_the_table() -> None:
    options: Any = Options({})
    with pytest.raises(KeyError):
        options["--no-such-flag"]


def test_an_http_listener_of_ones_own_has_no_two_rows() -> None:
    assert len({flag.variable for flag in FLAGS.values()}) == len(FLAGS)
