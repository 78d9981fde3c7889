"""A relay that gives one batch in twenty to a phone twice: for showing that a check sees it."""

import itertools
import sys

from fastrelay.cli import main
from fastrelay.routing.phone import Phone
from fastrelay.websocket.frames import text_header

deliver = Phone.deliver
numbers = itertools.count()


def stutter(phone: Phone, batch: list[bytes]) -> None:
    deliver(phone, batch)
    if next(numbers) % 20 == 19:
        deliver(phone, batch)


def deliver_small(phone: Phone, frame: bytes) -> None:
    stutter(phone, [text_header(len(frame)), frame])


Phone.deliver = stutter  # type: ignore[method-assign]
Phone.deliver_small = deliver_small  # type: ignore[method-assign]
sys.exit(main())
