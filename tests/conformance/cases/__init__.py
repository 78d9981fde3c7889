"""The tables of cases, one module a subject; each has its rows in ``CASES``."""

from tests.conformance.case import Case
from tests.conformance.cases import (
    closing,
    fragmentation,
    framing,
    limits,
    opcodes,
    pings,
    reserved_bits,
    utf8,
)

GROUPS: dict[str, tuple[Case, ...]] = {
    "framing": framing.CASES,
    "pings": pings.CASES,
    "reserved bits": reserved_bits.CASES,
    "opcodes": opcodes.CASES,
    "fragmentation": fragmentation.CASES,
    "utf8": utf8.CASES,
    "closing": closing.CASES,
    "limits": limits.CASES,
}
