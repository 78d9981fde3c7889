"""What is claimed of the wire holds for a relay in processes of its own: some tests once more.

It is one process, or a supervisor and two workers.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.harness import START, relay_in_subprocess, relay_with_workers, running_relay
from tests.support.peer import CLOSE, client_frame
from tests.wire.test_close import (  # noqa: F401
    test_ping_is_answered_with_its_payload,
    test_the_relay_waits_for_the_answer_to_its_close,
    test_who_does_not_answer_our_close_is_dropped_after_the_limit,
)
from tests.wire.test_drain import test_no_new_connection_while_draining  # noqa: F401
from tests.wire.test_endings import (  # noqa: F401
    test_1005_is_an_empty_close_frame,
    test_1006_is_no_close_frame,
    test_the_log_says_who_ended_a_connection_and_why,
    test_the_server_id_of_a_binary_does_not_wait_for_its_answer,
)
from tests.wire.test_http import (  # noqa: F401
    test_a_refused_attempt_takes_a_token,
    test_both_endpoints_share_the_bucket_of_an_address,
    test_over_a_cap_is_503_and_a_slot_comes_back,
    test_the_device_name_is_any_text_logged_escaped_and_cut,
)
from tests.wire.test_metrics import (  # noqa: F401
    test_a_format_is_chosen_by_weight,
    test_a_rate_limit_deny_advances_its_cells_and_no_other,
    test_a_terminal_advances_its_cells_and_no_other,
)
from tests.wire.test_plain_http import (  # noqa: F401
    test_a_connection_serves_a_hundred_requests,
    test_a_scrape_by_a_foreign_name_is_misdirected,
    test_a_scrape_by_an_address_or_a_loopback_name_is_answered,
    test_the_metrics_listener_serves_nothing_else,
)
from tests.wire.test_registry_wire import (  # noqa: F401
    test_a_phone_without_a_binary_is_refused,
    test_grace_expiry_closes_the_phones_and_frees_the_server_id,
    test_server_ids_do_not_mix,
    test_the_seventeenth_phone_is_refused,
)
from tests.wire.test_request_targets import (  # noqa: F401
    test_an_absolute_target_needs_a_good_host_as_well,
    test_an_absolute_target_of_an_endpoint_is_upgraded_and_logged_as_its_path,
)
from tests.wire.test_routing import (  # noqa: F401
    test_a_notice_carries_the_code_the_phone_sent,
    test_directives_and_frames_of_one_read_keep_their_order,
    test_frames_flow_both_ways_byte_for_byte,
    test_one_byte_more_than_the_limit_reaches_nobody,
)


@pytest.fixture(autouse=True, params=[relay_in_subprocess, relay_with_workers])
def in_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Relays of this module are processes."""
    token = START.set(request.param)
    yield
    START.reset(token)


async def test_start_and_end_are_said_once_and_an_end_with_peers_is_no_trouble() -> None:
    async with running_relay() as relay:
        peers = []
        for number in range(4):
            binary, phone = await relay.binary(f"id{number}"), await relay.phone(f"id{number}")
            phone.send_text("1")
            await binary.json()
            peers += [phone, binary]
        draining = asyncio.create_task(relay.drain())
        for peer in peers:
            while (frame := await peer.frame()).opcode != CLOSE:
                pass
            peer.send(client_frame(frame.payload, CLOSE))
        await draining
        said = re.findall(r' level=(\w+) msg=("[^"]+"|\S+)', "".join(relay.lines))
    events = Counter(event for _, event in said)
    for once in (
        *("starting", '"starting metrics listener"', '"shutdown complete"'),
        '"shutdown signal received; draining"',
    ):
        assert events[once] == 1, once
    assert events["phone_unregistered"] == events["server_released"] == 4
    # Tests have no rate limit, of which the relay warns.
    assert {event for level, event in said if level != "INFO"} == {"rate_limit_off"}
