"""A relay that changes a byte of what it gives to phones: for showing that a check sees it."""

import itertools
import sys

from fastrelay.cli import main
from fastrelay.routing.phone import Phone
from tests.support.tampering import deliver_by

deliver = Phone.deliver
numbers = itertools.count()


def rewrite(phone: Phone, batch: list[bytes]) -> None:
    if next(numbers) % 50 == 49:
        batch[1] = bytes(batch[1]).replace(b"x", b"y", 1)
    deliver(phone, batch)


deliver_by(rewrite)
sys.exit(main())
