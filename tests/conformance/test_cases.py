"""Every case of every table, in every way, plain and TLS."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.case import Case
from tests.conformance.cases import GROUPS
from tests.conformance.client import Way, play, ways
from tests.conformance.echo import EchoServer

CASES = {f"{group}: {case.name}": case for group, cases in GROUPS.items() for case in cases}
SECURE = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])


@SECURE
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, server: EchoServer, *, secure: bool) -> None:
    for way in ways(case):
        play(case, way, server, secure=secure)


def test_no_case_hides_another() -> None:
    assert len(CASES) == sum(map(len, GROUPS.values()))


@SECURE
@settings(max_examples=60)
@given(
    st.sampled_from([case for case in CASES.values() if case.chop == 1]),
    st.integers(2, 40),
    st.integers(1, 40),
)
def test_cases_chopped_anywhere(
    server: EchoServer, secure: bool, case: Case, read: int, write: int
) -> None:
    play(case, Way(read, write), server, secure=secure)
