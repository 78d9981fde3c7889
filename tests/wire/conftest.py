"""What several tests of the wire start from."""

from collections.abc import Iterator

import pytest

from tests.support.netns import OtherHost, other_host
from tests.support.programs import skip_unless_ci


@pytest.fixture
def far() -> Iterator[OtherHost]:
    """Another host; CI never skips."""
    with other_host() as host:
        if host is None:
            skip_unless_ci("no network namespace can be made here (needs root and iproute2)")
        yield host
