"""For relays that treat frames for phones wrongly, to show that a check sees it."""

from collections.abc import Callable

from fastrelay.protocol.frames import text_header
from fastrelay.routing.phone import Phone

Deliver = Callable[[Phone, list[bytes]], None]


def deliver_by(tamper: Deliver) -> None:
    """Give ``tamper`` every batch for a phone, a lone small frame as a batch of one."""

    def deliver_small(phone: Phone, frame: bytes) -> None:
        tamper(phone, [text_header(len(frame)), frame])

    Phone.deliver = tamper  # type: ignore[method-assign]
    Phone.deliver_small = deliver_small  # type: ignore[method-assign]
