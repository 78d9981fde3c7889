"""The timer wheel on a clock of the test's own."""

import asyncio
import itertools
import math
import socket
import time
import weakref
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastrelay.loop.timer_wheel import PeriodicTask, TimerWheel
from tests.support.clock import Loop

TICK = 0.25


class Item:
    """Notes when it was called, and may then do something."""

    def __init__(self, loop: Loop, then: Callable[[], object] = lambda: None) -> None:
        self.wheel_tick = 0
        self.calls: list[float] = []
        self._loop = loop
        self._then = then

    def on_timer(self) -> None:
        self.calls.append(self._loop.now)
        self._then()


@pytest.fixture
def loop() -> Loop:
    return Loop()


def made(loop: Loop) -> TimerWheel:
    return TimerWheel(cast("asyncio.AbstractEventLoop", loop), TICK)


# -- the wheel ------------------------------------------------------------------------------------


@given(
    st.floats(0, 10_000, allow_nan=False),
    st.lists(st.floats(0, 40, allow_nan=False), max_size=20),
    st.floats(0, 0.2),
)
def test_never_early_and_at_most_a_tick_late(
    start: float, delays: list[float], late: float
) -> None:
    loop = Loop(start)
    loop.late = late
    wheel = made(loop)
    items = [Item(loop) for _ in delays]
    for item, delay in zip(items, delays, strict=True):
        wheel.after(item, delay)
    loop.advance(60)
    for item, delay in zip(items, delays, strict=True):
        (called,) = item.calls
        # An appointment for this very moment is for the next tick.
        assert start + delay <= called <= start + max(delay, 1e-9) + TICK + late + 1e-6
        assert item.wheel_tick == 0
    assert (len(wheel), loop.pending) == (0, 0)


def test_one_timer_of_the_loop_for_all(loop: Loop) -> None:
    wheel = made(loop)
    assert loop.pending == 0
    items = [Item(loop) for _ in range(1000)]
    for number, item in enumerate(items):
        wheel.after(item, number / 100)
    assert (len(wheel), loop.pending) == (1000, 1)
    loop.advance(5)
    assert loop.pending == 1
    loop.advance(6)
    assert (len(wheel), loop.pending) == (0, 0)
    assert all(len(item.calls) == 1 for item in items)


def test_it_starts_again_after_it_stood_still(loop: Loop) -> None:
    wheel, item = made(loop), Item(loop)
    wheel.after(item, 1)
    loop.advance(100)
    begin = loop.now
    wheel.after(item, 1)
    assert wheel.now == begin
    loop.advance(2)
    assert 1 <= item.calls[1] - begin <= 1 + TICK


def test_a_loop_that_slept_long_calls_all_that_fell_due(loop: Loop) -> None:
    wheel, items = made(loop), [Item(loop) for _ in range(5)]
    for delay, item in enumerate(items):
        wheel.after(item, delay)
    loop.late = 3.5
    loop.advance(0.5)
    assert [len(item.calls) for item in items] == [1, 1, 1, 1, 0]
    loop.late = 0
    loop.advance(1)
    assert len(items[4].calls) == 1


def test_a_new_appointment_replaces_the_old_one(loop: Loop) -> None:
    wheel, item = made(loop), Item(loop)
    wheel.after(item, 1)
    wheel.after(item, 5)
    assert len(wheel) == 1
    loop.advance(4.9)
    assert not item.calls
    wheel.after(item, 1)
    loop.advance(0.9)
    assert not item.calls
    loop.advance(10)
    assert len(item.calls) == 1


@pytest.mark.parametrize("late", [0, 0.1])
def test_lateness_is_that_of_the_tick_and_not_the_time_since_the_last_call(
    loop: Loop, late: float
) -> None:
    """A periodic task of one tick is called at each second one, since it is due after a tick."""
    wheel, seen = made(loop), list[float]()
    PeriodicTask(wheel, TICK, lambda: seen.append(wheel.late))
    loop.late = late
    loop.advance(10 * TICK)
    assert seen
    assert seen == pytest.approx([late] * len(seen))


def test_a_timer_of_the_loop_that_is_early_by_a_rounding_error_is_not_late(loop: Loop) -> None:
    seen: list[float] = []

    def on_tick(late: float) -> None:
        seen.append(late)
        loop.late = 0.0  # the next one is in time

    wheel = TimerWheel(cast("asyncio.AbstractEventLoop", loop), TICK, on_tick)
    wheel.after(Item(loop), TICK)
    loop.late = -1e-9
    loop.advance(10 * TICK)
    assert seen
    assert set(seen) == {0.0}


def test_no_later_never_puts_off(loop: Loop) -> None:
    wheel, item, begin = made(loop), Item(loop), loop.now
    wheel.no_later(item, begin + 5)
    wheel.no_later(item, begin + 9)
    assert item.wheel_tick == math.ceil((begin + 5) / TICK)
    wheel.no_later(item, begin + 2)
    loop.advance(2 + TICK)
    assert len(item.calls) == 1
    loop.advance(20)
    assert len(item.calls) == 1


def test_cancelled_is_forgotten(loop: Loop) -> None:
    wheel, item, other = made(loop), Item(loop), Item(loop)
    wheel.cancel(item)
    wheel.after(item, 1)
    wheel.after(other, 1)
    wheel.cancel(item)
    wheel.cancel(item)
    assert (len(wheel), item.wheel_tick) == (1, 0)
    loop.advance(2)
    assert (item.calls, len(other.calls)) == ([], 1)


def test_an_item_may_cancel_its_neighbour_while_both_are_called(loop: Loop) -> None:
    """As a connection that fails ends others: which of two comes first is nobody's promise."""
    wheel = made(loop)
    pair = [Item(loop, lambda: wheel.cancel(pair[1])), Item(loop, lambda: wheel.cancel(pair[0]))]
    for item in pair:
        wheel.after(item, 1)
    loop.advance(3)
    assert sorted(len(item.calls) for item in pair) == [0, 1]
    assert (len(wheel), loop.pending, loop.faults) == (0, 0, [])


def test_an_item_may_make_its_next_appointment(loop: Loop) -> None:
    wheel = made(loop)
    again = Item(loop, lambda: len(again.calls) < 3 and wheel.after(again, 0))
    wheel.after(again, 0)
    loop.advance(5)
    gaps = [after - before for before, after in itertools.pairwise(again.calls)]
    assert gaps == pytest.approx([TICK, TICK])  # never twice in one tick: no endless loop


def test_one_items_fault_costs_the_others_nothing(loop: Loop) -> None:
    wheel = made(loop)
    fault = ZeroDivisionError()

    def fail() -> None:
        raise fault

    bad = [Item(loop, fail) for _ in range(3)]
    good = [Item(loop) for _ in range(3)]
    for item in [*bad, *good]:
        wheel.after(item, 1)
    later = Item(loop)
    wheel.after(later, 1.5)
    loop.advance(1.5 + TICK)
    assert all(len(item.calls) == 1 for item in [*bad, *good, later])
    assert [context["exception"] for context in loop.faults] == [fault] * 3


def test_an_item_that_failed_is_called_again_a_second_later(loop: Loop) -> None:
    """A connection whose callback raised has other deadlines, and must not lose them."""
    wheel = made(loop)

    def fail_once() -> None:
        if len(item.calls) == 1:
            raise ZeroDivisionError

    item = Item(loop, fail_once)
    wheel.after(item, 1)
    loop.advance(10)
    first, second = item.calls
    assert 1 <= second - first <= 1 + TICK
    assert (len(loop.faults), len(wheel), loop.pending) == (1, 0, 0)


def test_an_item_that_failed_keeps_the_appointment_it_has_made(loop: Loop) -> None:
    wheel = made(loop)

    def fail_once() -> None:
        if len(item.calls) == 1:
            wheel.after(item, 5)
            raise ZeroDivisionError

    item = Item(loop, fail_once)
    wheel.after(item, 1)
    loop.advance(20)
    first, second = item.calls
    assert 5 <= second - first <= 5 + TICK


def test_a_closed_wheel_calls_nobody_and_holds_nothing(loop: Loop) -> None:
    wheel, item = made(loop), Item(loop)
    wheel.close()  # before it ever ran
    wheel.after(item, 1)
    wheel.close()
    assert (len(wheel), loop.pending, item.wheel_tick) == (0, 0, 0)
    loop.advance(5)
    assert not item.calls
    wheel.cancel(item)


def test_closing_from_within_a_call_is_the_end(loop: Loop) -> None:
    """Also of what would have been called in the same tick."""
    wheel = made(loop)
    items = [Item(loop, lambda: wheel.close()) for _ in range(5)]
    for item in items:
        wheel.after(item, 1)
    every = [PeriodicTask(wheel, 1, wheel.close) for _ in range(5)]
    wheel.after(later := Item(loop), 2)
    loop.advance(10)
    assert sum(len(item.calls) for item in items) <= 1
    assert (later.calls, len(wheel), loop.pending, loop.faults) == ([], 0, 0, [])
    assert not any(thing.wheel_tick for thing in [*items, *every, later])


def test_it_keeps_nobody_alive_who_was_called(loop: Loop) -> None:
    wheel = made(loop)
    items = [Item(loop) for _ in range(100)]
    for number, item in enumerate(items):
        wheel.after(item, number / 10)
    loop.advance(20)
    left = [weakref.ref(item) for item in items]
    del items, item
    assert not any(item() for item in left)


class Model(RuleBasedStateMachine):
    """Appointments made, moved and cancelled at will, against a dictionary of due times."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.wheel = made(self.loop)
        self.items = [Item(self.loop) for _ in range(4)]
        self.due: dict[int, float] = {}

    @rule(which=st.integers(0, 3), delay=st.floats(0, 3))
    def at(self, which: int, delay: float) -> None:
        self.due[which] = self.loop.now + delay
        self.wheel.at(self.items[which], self.due[which])

    @rule(which=st.integers(0, 3), delay=st.floats(0, 3))
    def no_later(self, which: int, delay: float) -> None:
        due = self.loop.now + delay
        self.wheel.no_later(self.items[which], due)
        self.due[which] = min(self.due.get(which, due), due)

    @rule(which=st.integers(0, 3))
    def cancel(self, which: int) -> None:
        self.wheel.cancel(self.items[which])
        self.due.pop(which, None)

    @rule(seconds=st.floats(0, 2), late=st.sampled_from([0, 0, 0.1, 0.7]))
    def time_passes(self, seconds: float, late: float) -> None:
        self.loop.late = late
        self.loop.advance(seconds)

    @invariant()
    def called_in_time(self) -> None:
        for which, item in enumerate(self.items):
            if item.calls:
                (called,) = item.calls
                assert called >= self.due.pop(which) - 1e-9
                item.calls.clear()
        assert all(due > self.loop.now - TICK - 1e-9 for due in self.due.values())

    @invariant()
    def holds_what_is_due(self) -> None:
        assert len(self.wheel) == len(self.due)
        assert {n for n, item in enumerate(self.items) if item.wheel_tick} == set(self.due)
        assert self.loop.pending <= 1
        assert self.loop.pending or not self.due


TestModel = Model.TestCase


# -- again and again ------------------------------------------------------------------------------


def test_every_acts_at_its_interval_until_cancelled(loop: Loop) -> None:
    wheel, times = made(loop), list[float]()
    begin = loop.now
    every = PeriodicTask(wheel, 2, lambda: times.append(loop.now - begin))
    assert not times
    loop.advance(9)
    assert len(times) == 4
    for number, moment in enumerate(times, 1):
        assert 2 * number <= moment <= number * (2 + TICK)
    every.cancel()
    loop.advance(9)
    assert (len(times), len(wheel), loop.pending) == (4, 0, 0)


def test_an_action_that_fails_is_tried_again(loop: Loop) -> None:
    wheel, tries = made(loop), list[float]()

    def act() -> None:
        tries.append(loop.now)
        raise OSError("full")

    every = PeriodicTask(wheel, 1, act)
    loop.advance(3 * (1 + TICK))
    assert len(tries) == 3
    assert len(loop.faults) == 3
    every.cancel()


def test_an_action_may_cancel_itself(loop: Loop) -> None:
    wheel = made(loop)
    every = PeriodicTask(wheel, 1, lambda: every.cancel())
    loop.advance(5)
    assert (len(wheel), loop.pending) == (0, 0)


async def test_on_a_real_loop() -> None:
    loop = asyncio.get_running_loop()
    wheel, called = TimerWheel(loop, 0.005), asyncio.Event()
    begin = loop.time()
    every = PeriodicTask(wheel, 0.02, called.set)
    await asyncio.wait_for(called.wait(), 5)
    assert loop.time() - begin > 0.019  # its clock has milliseconds
    every.cancel()
    wheel.close()


# -- stalls ----------------------------------------------------------------------------------------


def stalling(loop: Loop) -> tuple[TimerWheel, list[float]]:
    """A wheel that tells stalls, and their lengths."""
    stalls: list[float] = []
    wheel = TimerWheel(
        cast("asyncio.AbstractEventLoop", loop), TICK, lambda late: None, stalls.append
    )
    return wheel, stalls


def test_a_stall_moves_all_timeouts_by_its_length_and_is_told_once(loop: Loop) -> None:
    wheel, stalls = stalling(loop)
    begin, item = loop.now, Item(loop)
    wheel.after(item, 5)
    loop.late = 12.0
    loop.advance(TICK)
    loop.late = 0.0
    assert stalls == [pytest.approx(12.0)]
    loop.advance(begin + 16.9 - loop.now)
    assert not item.calls
    loop.advance(1.0)
    assert len(item.calls) == 1
    assert len(stalls) == 1


def test_a_loop_that_is_merely_slow_moves_nothing(loop: Loop) -> None:
    wheel, stalls = stalling(loop)
    begin, item = loop.now, Item(loop)
    wheel.after(item, 5)
    loop.late = 0.9
    loop.advance(8)
    assert (len(item.calls), stalls) == (1, [])
    assert item.calls[0] - begin < 5 + 2 * TICK + 0.9


def test_a_callback_for_stalls_that_raises_costs_no_timeout(loop: Loop) -> None:
    def fails(seconds: float) -> None:
        raise RuntimeError

    wheel = TimerWheel(cast("asyncio.AbstractEventLoop", loop), TICK, on_stall=fails)
    item = Item(loop)
    wheel.after(item, 1)
    loop.late = 5.0
    loop.advance(TICK)
    loop.late = 0.0
    loop.advance(2)
    assert len(item.calls) == 1
    assert len(loop.faults) == 1


async def test_sockets_are_read_before_a_timeout_is_judged() -> None:
    """The loop is blocked while bytes arrive; they are seen before the timeout is."""
    loop = asyncio.get_running_loop()
    wheel, events = TimerWheel(loop, 0.01), list[str]()
    ours, theirs = socket.socketpair()
    with ours, theirs:

        class Deadline:
            wheel_tick = 0

            def on_timer(self) -> None:
                events.append("judged")

        loop.add_reader(ours, lambda: (events.append("read"), loop.remove_reader(ours)))
        wheel.after(Deadline(), 0.05)
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251  # the loop is blocked
        theirs.send(b"x")
        async with asyncio.timeout(40):
            while len(events) < 2:
                await asyncio.sleep(0.001)
    wheel.close()
    assert events == ["read", "judged"]
