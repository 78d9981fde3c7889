"""What is claimed of the wire holds over TLS as well: the same tests once more."""

from collections.abc import Iterator

import pytest

from tests.support.harness import SECURE
from tests.wire.test_backpressure import *  # noqa: F403
from tests.wire.test_close import *  # noqa: F403
from tests.wire.test_drain import *  # noqa: F403
from tests.wire.test_fair_turns import *  # noqa: F403
from tests.wire.test_liveness import *  # noqa: F403
from tests.wire.test_registry_wire import *  # noqa: F403
from tests.wire.test_routing import *  # noqa: F403
from tests.wire.test_shared_line import *  # noqa: F403
from tests.wire.test_takeover import *  # noqa: F403

# These end one direction of TCP under a peer, which asyncio's TLS cannot.
del test_a_newcomer_that_leaves_during_the_probe  # noqa: F821
del test_a_newcomer_does_not_wait_for_an_incumbent_that_is_being_closed  # noqa: F821
del test_the_first_newcomer_wins_when_the_second_has_left  # noqa: F821
del test_an_incumbent_that_dies_behind_its_pong_keeps_nothing  # noqa: F821  # it writes plaintext
del test_frames_behind_the_head_of_a_refused_attempt  # noqa: F821


@pytest.fixture(autouse=True)
def over_tls() -> Iterator[None]:
    """Relays and peers of this module speak TLS."""
    token = SECURE.set(True)
    yield
    SECURE.reset(token)
