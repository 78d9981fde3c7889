"""A relay that gives one batch in twenty to a phone twice: for showing that a check sees it."""

import itertools
import sys

from fastrelay.cli import main
from fastrelay.routing.phone import Phone
from tests.support.tampering import deliver_by

deliver = Phone.deliver
numbers = itertools.count()


def stutter(phone: Phone, batch: list[bytes]) -> None:
    deliver(phone, batch)
    if next(numbers) % 20 == 19:
        deliver(phone, batch)


deliver_by(stutter)
sys.exit(main())
