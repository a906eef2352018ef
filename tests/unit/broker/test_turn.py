"""The end of a turn: what raises is told of, and costs nobody else anything."""

from collections.abc import Callable

import pytest

from broker.metrics.counters import Counters
from broker.session.outlet import Outlet
from broker.turn import Turn


class MistakeError(Exception):
    """What the broken ones raise."""


class Loop:
    """An event loop of nothing but call_soon; like asyncio's it catches what a callback raises, and goes on."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []
        self.mistakes: list[str] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def run(self) -> None:
        """Run until nothing is left to do."""
        while self.ready:
            try:
                self.ready.pop(0)()
            except MistakeError as error:
                self.mistakes.append(str(error))


class Worker(Outlet):
    """Does its work in any of the three parts of a turn, and notes it; a broken one raises."""

    def __init__(self, turn: Turn, name: str, done: list[str]) -> None:
        super().__init__(turn, Counters(), 4096)
        self.name, self.done = name, done

    def wake(self) -> int:
        return self.end_turn()

    def end_turn(self) -> int:
        self.done.append(self.name)
        if self.name.startswith("broken"):
            raise MistakeError(self.name)
        return 0


def put_off(turn: Turn, part: str, worker: Worker) -> None:
    if part == "queue":
        turn.wake_later(worker)
    elif part == "journal":
        turn.want_commit(worker.end_turn)
    else:
        worker.owes_confirms(None)


PARTS = ("queue", "journal", "connection")


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def turn(loop: Loop) -> Turn:
    return Turn(loop.call_soon)


@pytest.mark.parametrize("broken_part", PARTS)
def test_what_raises_costs_nobody_else_anything(loop: Loop, turn: Turn, broken_part: str) -> None:
    done: list[str] = []
    expected = []
    for part in PARTS:
        for name in ("first", "broken", "third", "fourth") if part == broken_part else ("only",):
            put_off(turn, part, Worker(turn, f"{name} {part}", done))
            expected.append(f"{name} {part}")
    assert len(loop.ready) == 1
    loop.run()
    assert done == expected
    assert loop.mistakes == [f"broken {broken_part}"]


def test_several_that_raise_are_each_told_of(loop: Loop, turn: Turn) -> None:
    done: list[str] = []
    names = ["broken 1", "broken 2", "3", "broken 4"]
    for name in names:
        put_off(turn, "connection", Worker(turn, name, done))
    loop.run()
    assert done == names
    assert loop.mistakes == ["broken 1", "broken 2", "broken 4"]


@pytest.mark.parametrize("part", PARTS)
def test_what_raised_may_be_put_off_again(loop: Loop, turn: Turn, part: str) -> None:
    done: list[str] = []
    broken = Worker(turn, "broken", done)
    for _ in range(2):
        put_off(turn, part, broken)
        loop.run()
    assert loop.mistakes == ["broken", "broken"]
    assert done == ["broken", "broken"]


def test_what_is_left_comes_before_what_is_new(loop: Loop, turn: Turn) -> None:
    done: list[str] = []
    new = Worker(turn, "new", done)

    class Broken(Worker):
        def end_turn(self) -> int:
            put_off(turn, "queue", new)
            return super().end_turn()

    put_off(turn, "queue", Broken(turn, "broken", done))
    put_off(turn, "queue", Worker(turn, "left", done))
    loop.run()
    assert done == ["broken", "left", "new"]
    assert loop.mistakes == ["broken"]


def test_a_turn_in_which_all_goes_well_is_the_only_one(loop: Loop, turn: Turn) -> None:
    done: list[str] = []
    for part in PARTS:
        put_off(turn, part, Worker(turn, part, done))
    loop.ready.pop()()
    assert done == list(PARTS)
    assert not loop.ready
