"""For relays that treat frames for phones wrongly, to show that a check sees it."""

from collections.abc import Callable

from fastrelay.routing.phone import Phone

Deliver = Callable[[Phone, list[bytes]], None]


def deliver_by(tamper: Deliver) -> None:
    """Give ``tamper`` every batch for a phone."""
    Phone.deliver = tamper  # type: ignore[method-assign]
