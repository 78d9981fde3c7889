"""What several tests of the wire start from."""

from collections.abc import Iterator

import pytest

from tests.support.netns import OtherHost, needed_host


@pytest.fixture
def far() -> Iterator[OtherHost]:
    """Another host."""
    with needed_host() as host:
        yield host
