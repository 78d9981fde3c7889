"""Gate 4: the headers that an endpoint requires."""

from fastrelay.http.exchange import Exchange
from fastrelay.protocol.required_headers import Required, fault_of


class BadHeader(ValueError):
    """A required header is missing or bad; the text says how, and quotes nothing of its value.

    Attributes:
        name: of the header, in lower case.
    """

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(fault)
        self.name = name


def check_headers(exchange: Exchange, required: tuple[Required, ...]) -> dict[bytes, str]:
    """The kept values by name.

    Raises:
        BadHeader: about the first header that is missing, given twice, or out of bounds.
    """
    kept = {}
    for header in required:
        values = exchange.header(header.name)
        fault = fault_of(header, values)
        if fault:
            raise BadHeader(header.name.decode(), fault)
        if header.kept:
            kept[header.name] = values[0].decode("ascii")
    return kept
