"""What is claimed of the wire holds with workers and TLS: half of the connections are spliced."""

from collections.abc import Iterator

import pytest

from tests.support.harness import SECURE, START, relay_with_workers
from tests.wire.test_close import (  # noqa: F401
    test_ping_is_answered_with_its_payload,
    test_the_relay_waits_for_the_answer_to_its_close,
    test_who_does_not_answer_our_close_is_dropped_after_the_limit,
)
from tests.wire.test_endings import (  # noqa: F401
    test_1005_is_an_empty_close_frame,
    test_1006_is_no_close_frame,
    test_the_server_id_of_a_binary_does_not_wait_for_its_answer,
)
from tests.wire.test_registry_wire import (  # noqa: F401
    test_a_phone_without_a_binary_is_refused,
    test_grace_expiry_closes_the_phones_and_frees_the_server_id,
    test_server_ids_do_not_mix,
)
from tests.wire.test_routing import (  # noqa: F401
    test_a_notice_carries_the_code_the_phone_sent,
    test_directives_and_frames_of_one_read_keep_their_order,
    test_frames_flow_both_ways_byte_for_byte,
)


@pytest.fixture(autouse=True)
def with_workers_and_tls() -> Iterator[None]:
    """Relays of this module have workers, and serve TLS."""
    start, secure = START.set(relay_with_workers), SECURE.set(True)
    yield
    START.reset(start)
    SECURE.reset(secure)
