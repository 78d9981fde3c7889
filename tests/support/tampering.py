"""For relays that treat frames for phones wrongly, to show that a check sees it."""

from collections.abc import Callable

from fastrelay.routing import binary
from fastrelay.routing.phone import Phone

Deliver = Callable[[Phone, list[bytes]], None]


def deliver_by(tamper: Deliver) -> None:
    """Give ``tamper`` every batch for a phone, a lone frame as a batch of one."""
    binary.SMALL_FRAME = 0  # type: ignore[misc]  # so that no frame goes without a batch
    Phone.deliver = tamper  # type: ignore[method-assign]
