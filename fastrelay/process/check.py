"""``fastrelay check``: prints the settings that would apply. It binds and writes nothing."""

from typing import Final

from fastrelay import __version__
from fastrelay.config.flags import FLAGS, Flag, look_up
from fastrelay.config.settings import Acme, Settings, TlsFiles
from fastrelay.config.sources import Options
from fastrelay.config.spelling import ignored
from fastrelay.config.values import in_units
from fastrelay.net.tls.certificates import Certificates, UnusableCertificate, iso_time
from fastrelay.process.run import certificate_error
from fastrelay.server.address_cap import address_cap

_FLAGS_OF_EMPTY: Final = {"--metrics-listen": "off", "--trust-x-forwarded-for": "no peer"}
"""What no value means for a setting, where it is not "none"."""


def check(options: Options, settings: Settings) -> str:
    """A table of the settings that would apply: each flag, its value, and where it was given.

    A certificate in files is read, and tried in a handshake.

    Raises:
        ConfigurationError: the certificate cannot be used.
    """
    expiry = _expiry(settings.tls) if isinstance(settings.tls, TlsFiles) else ""
    way = "plain HTTP" if settings.tls is None else "TLS"
    if isinstance(settings.tls, Acme):
        way = f"TLS for {settings.tls.domain}"
    rows = [("flag", "value in effect", "given by")]
    for flag in FLAGS.values():
        if flag.setting or options.is_given(flag.name):
            rows.append((flag.key, _value(flag, options, settings), options.source(flag.name)))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [
        f"fastrelay {__version__} would serve {way} on {settings.listen}",
        f"push is {'on' if settings.push else 'off'}{expiry}",
        "",
        *(f"  {key:{widths[0]}}  {text:{widths[1]}}  {origin}" for key, text, origin in rows),
    ]
    if settings.unknown_variables:
        lines += ["", ignored(settings.unknown_variables)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _expiry(files: TlsFiles) -> str:
    certificates = Certificates()
    try:
        certificates.install(files.certificate, files.key)
    except UnusableCertificate as error:
        raise certificate_error(error) from None
    return f"; the certificate expires at {iso_time(certificates.expires)}"


def _value(flag: Flag, options: Options, settings: Settings) -> str:
    if flag.name == "--max-connections-per-ip":
        return address_cap(settings)
    value = look_up(settings, flag.setting) if flag.setting else options[flag.name]
    match value:
        case None:
            return _FLAGS_OF_EMPTY.get(flag.name, "none")
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(str(entry) for entry in value) or "any peer"
        case int() if flag.metavar == "SIZE":
            return in_units(value)
        case float():
            return f"{value:g}"
    return str(value)
