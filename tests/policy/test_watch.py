"""Who is silent, who is killed, and when a worker is started again."""

from fastrelay.config.settings import Intervals
from fastrelay.policy.watch import EarlyDeaths, Restarts, Watch


def looks(watch: Watch, now: float, heard: dict[int, float], back: bool = True) -> object:
    verdict = watch.look(now, heard, others_are_back=back)
    return set(verdict.silent), verdict.kill, verdict.is_well


def test_the_most_silent_is_killed_alone_and_one_at_a_time() -> None:
    watch = Watch(2.0, 10.0)
    for second in range(20):
        looks(watch, float(second), {0: second, 1: second, 2: second, 3: second})
    assert looks(watch, 19.5, {0: 19.0, 1: 17.0, 2: 8.0, 3: 9.0}) == ({1, 2, 3}, 2, True)
    assert looks(watch, 19.6, {0: 19.0, 1: 19.0, 3: 9.0}, back=False) == ({3}, None, True)
    assert looks(watch, 19.7, {0: 19.0, 1: 19.0, 2: 19.5, 3: 9.0})[1] == 3  # type: ignore[index]


def test_none_is_killed_while_more_than_half_are_overdue() -> None:
    watch = Watch(2.0, 10.0)
    for second in range(30):
        looks(watch, float(second), {})
    assert looks(watch, 29.5, {0: 1.0, 1: 2.0, 2: 29.0}) == ({0, 1}, None, False)


def test_after_a_gap_of_its_own_all_deadlines_begin_anew() -> None:
    watch = Watch(2.0, 10.0)
    looks(watch, 0.0, {0: 0.0, 1: 0.0})
    assert looks(watch, 30.0, {0: 0.0, 1: 0.0}) == (set(), None, True)
    assert looks(watch, 30.5, {0: 30.2, 1: 30.2}) == (set(), None, True)
    # One that has not run since is given as long as if it had been heard of then.
    for second in range(31, 40):
        heard = {0: float(second), 1: float(second), 2: 0.0}
        assert looks(watch, float(second), heard)[1] is None  # type: ignore[index]
    looks(watch, 39.5, {0: 39.5, 1: 39.5, 2: 0.0})
    assert looks(watch, 40.1, {0: 40.0, 1: 40.0, 2: 0.0})[1] == 2  # type: ignore[index]


def test_by_default_another_accepts_within_three_seconds_and_the_hung_one_is_killed() -> None:
    intervals = Intervals()
    watch = Watch(intervals.worker_silent, intervals.worker_hung)
    silent_at = killed_at = 0.0
    for tick in range(100):  # the last sign of life is one tick old when a connection comes
        now = tick * intervals.tick
        silent, kill, _ = watch.look(now, {0: now, 1: 0.0}, others_are_back=True)
        silent_at = silent_at or (now if 1 in silent else 0.0)
        killed_at = killed_at or (now if kill == 1 else 0.0)
    assert 0.0 < silent_at < 3.0
    assert 10.0 < killed_at < 11.0
    assert intervals.handover == 2.0  # until 503 is said for a silent owner


def test_waits_double_and_a_quiet_minute_forgives() -> None:
    restarts = Restarts(0.1, 1.0)
    assert [restarts.delay(float(at)) for at in range(7)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert restarts.delay(80.0) == 0.0


def test_five_early_deaths_in_a_minute_are_too_many() -> None:
    deaths = EarlyDeaths()
    assert [deaths.are_too_many(float(at)) for at in range(5)] == [False] * 4 + [True]
    assert not deaths.are_too_many(500.0)
