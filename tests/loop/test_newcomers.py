"""The slice of time of newcomers, with a clock that the test moves."""

from collections.abc import Callable

import pytest

from fastrelay.loop import newcomers as module
from fastrelay.loop.newcomers import Newcomers


class Scene:
    """Newcomers that have 2 s of an iteration, and what was done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []
        self.callbacks: list[Callable[[], None]] = []
        self.newcomers = Newcomers(2.0, self.callbacks.append, self.clock)

    def clock(self) -> float:
        return self.now

    def work(self, name: str, seconds: float = 0.6) -> Callable[[], None]:
        def work() -> None:
            self.now += seconds
            self.done.append(name)

        return work

    def accepting(self, waiting: int, seconds: float = 0.4) -> Callable[[], bool]:
        left = waiting

        def accept_one() -> bool:
            nonlocal left
            if not left:
                return False
            left -= 1
            self.now += seconds
            self.done.append("accept")
            return True

        return accept_one

    def iteration(self) -> list[str]:
        """The next iteration of the loop; returns what was done in it."""
        callbacks, self.done[:] = list(self.callbacks), []
        self.callbacks.clear()
        for callback in callbacks:
            callback()
        return list(self.done)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_work_is_done_at_once_while_there_is_time(scene: Scene) -> None:
    assert scene.newcomers.run(scene.work("a"))
    scene.now += 100  # other connections' traffic
    assert scene.newcomers.run(scene.work("b"))
    assert not scene.newcomers.run(scene.work("c"))
    assert scene.done == ["a", "b"]
    scene.iteration()
    assert scene.newcomers.run(scene.work("c"))


def test_what_waits_has_its_turn_in_the_order_of_arrival(scene: Scene) -> None:
    for name in "abcde":
        scene.newcomers.queue(scene.work(name))
    assert scene.iteration() == ["a", "b"]
    assert not scene.newcomers.run(scene.work("f", 0.0))  # not before those that wait
    assert scene.iteration() == ["c", "d"]
    assert scene.iteration() == ["e"]
    assert scene.newcomers.run(scene.work("f", 0.0))
    assert scene.iteration() == []
    assert not scene.callbacks  # an idle loop is not woken


def test_however_long_it_takes_a_piece_is_done_in_each_iteration(scene: Scene) -> None:
    for name in "ab":
        scene.newcomers.queue(scene.work(name, 100.0))
    assert scene.iteration() == ["a"]
    assert scene.iteration() == ["b"]
    scene.iteration()
    assert scene.newcomers.run(scene.work("c", 100.0))
    scene.newcomers.accept(scene.accepting(5, 100.0))
    assert scene.done == ["c", "accept"]


def test_further_requests_do_not_keep_a_first_one_waiting(scene: Scene) -> None:
    for number in range(9):
        scene.newcomers.queue(scene.work(f"further {number}"), is_first=False)
    scene.newcomers.queue(scene.work("first"))
    assert scene.iteration() == ["first", "further 0"]
    assert scene.newcomers.run(scene.work("another", 0.0)) is False  # the time is over
    scene.newcomers.queue(scene.work("another", 0.0))
    assert scene.iteration() == ["another", "further 1", "further 2"]


def test_a_connection_has_one_turn_in_an_iteration(scene: Scene) -> None:
    def again() -> None:
        scene.done.append("again")
        scene.newcomers.queue(again, is_first=False)

    scene.newcomers.queue(again, is_first=False)
    for _ in range(3):
        assert scene.iteration() == ["again"]


def test_heads_leave_half_of_the_time_to_accepting(scene: Scene) -> None:
    for _ in range(9):
        scene.newcomers.queue(scene.work("head"))
    assert scene.iteration() == ["head"] * 2
    scene.newcomers.accept(scene.accepting(1000))
    assert scene.done == ["head", "head", "accept", "accept"]
    scene.iteration()
    scene.newcomers.accept(scene.accepting(1, 0.0))
    scene.newcomers.accept(scene.accepting(1000))
    assert scene.done == ["head", "head", *["accept"] * 3]


def test_accepting_alone_has_all_of_the_time(scene: Scene) -> None:
    scene.newcomers.accept(scene.accepting(1000))
    assert scene.done == ["accept"] * 5
    scene.iteration()
    scene.newcomers.accept(scene.accepting(3))
    assert scene.done == ["accept"] * 3


def test_what_is_done_within_a_turn_needs_none(scene: Scene) -> None:
    def handshake() -> None:
        scene.now += 5.0
        assert scene.newcomers.run(scene.work("head"))

    assert scene.newcomers.run(handshake)
    assert scene.done == ["head"]


def test_work_that_fails_costs_no_other_its_turn(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[BaseException] = []
    monkeypatch.setattr(module, "report", failures.append)

    def fail() -> None:
        raise RuntimeError("a bug")

    scene.newcomers.queue(fail)
    scene.newcomers.queue(scene.work("b"))
    assert scene.iteration() == ["b"]
    assert len(failures) == 1
    with pytest.raises(RuntimeError):  # the transport that called ends the connection
        scene.newcomers.run(fail)
    scene.iteration()
    assert scene.newcomers.run(scene.work("c"))
