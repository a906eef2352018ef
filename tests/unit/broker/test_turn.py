"""The end of a turn: what raises is told of, and costs nobody else anything."""

from collections.abc import Callable

import pytest

from broker.metrics.counters import Counters
from broker.session.outlet import Outlet
from broker.turn import HANDED_OVER_AT_ONCE_MIN, HANDED_OVER_PER_TURN_MAX, SERVED_BEFORE_COMMIT_MAX, Turn


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
    """Does its work in any of the four parts of a turn, and notes it; a broken one raises."""

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
    elif part == "step":
        turn.want_step(worker.end_turn)
    elif part == "journal":
        turn.want_commit(worker.end_turn)
    else:
        worker.owes_confirms(None)


PARTS = ("queue", "step", "connection", "journal")


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


def test_the_disk_does_not_wait_for_very_many_connections(loop: Loop, turn: Turn) -> None:
    done: list[str] = []
    connections = [str(number) for number in range(2 * SERVED_BEFORE_COMMIT_MAX)]
    for name in connections:
        put_off(turn, "connection", Worker(turn, name, done))
    put_off(turn, "journal", Worker(turn, "journal", done))
    loop.ready.pop()()
    assert done == [*connections[:SERVED_BEFORE_COMMIT_MAX], "journal", *connections[SERVED_BEFORE_COMMIT_MAX:]]
    assert not loop.ready


class Backlogged:
    """A queue with a long backlog: each time it hands over as much as it may."""

    def __init__(self, turn: Turn, done: list[tuple[str, int]], name: str, length: int) -> None:
        self.turn, self.done, self.name, self.left = turn, done, name, length

    def wake(self) -> int:
        count = min(self.left, HANDED_OVER_AT_ONCE_MIN)
        self.left -= count
        self.turn.hand_over_left -= count
        self.done.append((self.name, count))
        if self.left:
            self.turn.wake_later(self)
        return 0


def test_queues_share_what_one_turn_allows(loop: Loop, turn: Turn) -> None:
    done: list[tuple[str, int]] = []
    names = [str(number) for number in range(1_000)]
    for name in names:
        turn.wake_later(Backlogged(turn, done, name, 2 * HANDED_OVER_AT_ONCE_MIN))
    loop.ready.pop()()
    first = len(done)
    assert sum(count for _, count in done) <= HANDED_OVER_PER_TURN_MAX
    loop.run()
    # Each has had its turn before any has had another.
    assert [name for name, _ in done] == names * 2
    assert first < len(names)


def test_a_queue_waits_once_however_often_it_is_to_go_on(loop: Loop, turn: Turn) -> None:
    done: list[str] = []
    queue = Worker(turn, "queue", done)
    for _ in range(3):
        turn.wake_later(queue)
    loop.run()
    assert done == ["queue"]


def test_a_step_is_taken_once_however_often_it_is_wanted(loop: Loop, turn: Turn) -> None:
    done: list[str] = []
    first, second = Worker(turn, "first", done), Worker(turn, "second", done)
    for worker in (first, second, first):
        turn.want_step(worker.end_turn)
    loop.run()
    assert done == ["first", "second"]


def test_a_step_may_want_itself_again(loop: Loop, turn: Turn) -> None:
    done: list[int] = []

    def step() -> None:
        done.append(len(loop.ready))
        if len(done) < 3:
            turn.want_step(step)

    turn.want_step(step)
    loop.ready.pop()()
    assert len(done) == 1
    loop.run()
    assert len(done) == 3
