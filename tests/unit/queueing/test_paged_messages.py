"""The messages of a queue in memory and paged out, in any order of everything, against a dictionary."""

import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from broker.queueing.budget import MemoryBudget
from broker.queueing.message import Message
from broker.queueing.ready import PagedMessage, ReadyMessages
from storage.fetcher import Fetch
from tests.support.messages import published

KINDS = ["push", "push", "place", "place", "pop", "take", "discard", "page_out", "page_out_one", "page_in"]
KINDS += ["move", "collect", "entries"]
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 1000)), max_size=150)
BODY_SIZE_MAX = 9
MESSAGE_BYTES = 200
"""What a message takes in memory beside its octets."""


@dataclass
class Held:
    """What the model knows of an entry."""

    message: Message
    redelivered: bool
    location: int = 0
    share_units: int = 0

    @property
    def memory_bytes(self) -> int:
        message = self.message
        return MESSAGE_BYTES + len(message.body) + len(message.header) + len(message.address)


class Model:
    """Entries by position, and the real thing beside them."""

    def __init__(self, limit_bytes: int = 1 << 40) -> None:
        self.reports = 0
        self.budget = MemoryBudget(limit_bytes, self._report)
        self.ready = ReadyMessages(self.budget)
        self.entries: dict[int, Held] = {}
        self.removed: dict[int, Held] = {}
        self.position = 100
        self.locations = 0

    def _report(self) -> None:
        self.reports += 1

    def message(self, number: int) -> Message:
        return published(bytes(number % BODY_SIZE_MAX))

    def some(self, number: int, *, paged: bool | None = None) -> int | None:
        """Return the position of an entry, if there is one."""
        there = [at for at in sorted(self.entries) if paged is None or bool(self.entries[at].location) == paged]
        return there[number % len(there)] if there else None

    def took(self, position: int, got: Message | PagedMessage | None) -> None:
        """Compare what was taken, and forget it."""
        held = self.entries.pop(position)
        self.removed[position] = held
        if held.location:
            assert isinstance(got, PagedMessage)
            assert (got.location, got.body_size, got.share_units) == (
                held.location,
                len(held.message.body),
                held.share_units,
            )
        else:
            assert got is held.message
        assert (self.ready.taken_position, self.ready.taken_redelivered) == (position, held.redelivered)

    def new_location(self) -> int:
        self.locations += 3
        return (self.locations % 7 + 1) << 32 | self.locations

    def paged(self, held: Held) -> PagedMessage:
        """Return what a queue hands around of an entry that is paged out."""
        maker = ReadyMessages()
        maker.push(held.message, 1, False)
        assert maker.page_out_one(1, held.message, held.location, held.share_units)
        made = maker.discard(1)
        assert isinstance(made, PagedMessage)
        return made

    # Steps

    def push(self, number: int) -> None:
        self.position += 1 + number % 3
        held = self.entries[self.position] = Held(self.message(number), bool(number % 2))
        self.ready.push(held.message, self.position, held.redelivered)

    def place(self, number: int) -> None:
        if self.removed and number % 3:
            position = sorted(self.removed)[number % len(self.removed)]
            held = self.removed.pop(position)
        else:
            position = number + 1
            held = Held(self.message(number), False)
            if position in self.entries or position in self.removed:
                return
            self.position = max(self.position, position)
        held.redelivered = bool(number % 2)
        self.entries[position] = held
        self.ready.place(self.paged(held) if held.location else held.message, position, held.redelivered)

    def pop(self, number: int) -> None:
        popped = self.ready.pop()
        if not self.entries:
            assert popped is None
            return
        assert popped is not None
        assert popped[1] == min(self.entries)
        self.took(popped[1], popped[0])

    def discard(self, number: int) -> None:
        position = self.some(number) if number % 4 else number
        got = self.ready.discard(position or 0)
        if position in self.entries:
            self.took(position, got)
        else:
            assert got is None

    def page_out(self, number: int) -> None:
        """Nothing is in a journal: everything is to be written, once, the last first and as much as is too much."""
        keep_bytes = number * 5
        unwritten: list[tuple[int, Message]] = []
        expected = []
        left = sum(held.memory_bytes for held in self.entries.values() if not held.location)
        for position in sorted(self.entries, reverse=True):
            held = self.entries[position]
            if left <= keep_bytes or len(expected) == 20:
                break
            if not held.location:
                left -= held.memory_bytes
                expected.append((position, held.message))
        assert self.ready.page_out(keep_bytes, 20, unwritten, True) == len(expected)
        assert unwritten == expected

    def page_out_one(self, number: int) -> None:
        position = self.some(number, paged=False)
        if position is None:
            assert not self.ready.page_out_one(number, self.message(1), 8, 1)
            return
        held = self.entries[position]
        assert not self.ready.page_out_one(position, self.message(1), 8, 1)
        held.location, held.share_units = self.new_location(), number
        assert self.ready.page_out_one(position, held.message, held.location, number)

    def page_in(self, number: int) -> None:
        position = self.some(number, paged=True)
        if position is None:
            assert not self.ready.page_in(number, 8, self.message(1))
            return
        held = self.entries[position]
        message = published(bytes(len(held.message.body)))
        assert not self.ready.page_in(position, held.location + 1, message)
        assert self.ready.page_in(position, held.location, message)
        assert message.share_units == held.share_units
        assert not self.ready.page_in(position, held.location, message)
        # As one that the journal does not keep: otherwise it would count as being written.
        message.share_units = 0
        self.entries[position] = Held(message, held.redelivered)

    def move(self, number: int) -> None:
        position = self.some(number, paged=True)
        if position is not None:
            held = self.entries[position]
            after = self.new_location()
            assert not self.ready.relocate(position, after, held.location)
            assert self.ready.relocate(position, held.location, after)
            held.location = after
        position = self.some(number, paged=False)
        if position is not None:
            assert not self.ready.relocate(position, 8, 16)

    def collect(self, number: int) -> None:
        fetch = Fetch()
        for position in range(max(self.entries, default=0) + 2):
            there = position in self.entries and self.entries[position].location != 0
            assert self.ready.collect_one(fetch, position) == there

    def look(self, number: int) -> None:
        expected = [
            (at, held.location or held.message, held.redelivered)
            for at, held in sorted(self.entries.items())
            if at >= number
        ]
        got = [
            (at, held.location if isinstance(held, PagedMessage) else held, redelivered)
            for at, held, redelivered in self.ready.entries(number, 1 << 20)
        ]
        assert got == expected

    def check(self) -> None:
        paged = [held for held in self.entries.values() if held.location]
        in_memory = [held for held in self.entries.values() if not held.location]
        assert len(self.ready) == self.ready.count == len(self.entries)
        assert self.ready.paged_count == len(paged)
        assert self.ready.memory_bytes == sum(held.memory_bytes for held in in_memory)
        assert self.budget.used_bytes == self.ready.memory_bytes

    def do(self, step: str, number: int) -> None:
        {"take": self.pop, "entries": self.look}.get(step, getattr(self, step, self.pop))(number)
        self.check()


@given(STEPS)
def test_whatever_is_paged_out_and_in_everything_is_counted(steps: list[tuple[str, int]]) -> None:
    model = Model()
    for step, number in steps:
        model.do(step, number)
    model.look(0)
    del model.ready
    assert model.budget.used_bytes == 0


def test_many_messages_in_many_blocks() -> None:
    """The same with blocks that fill, split, merge and go."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    model = Model()
    for phase in range(12):
        if phase % 3 == 0:
            for number in range(3000):
                model.push(number)
        weights = chance.choices(range(1, 9), k=6)
        for _ in range(300):
            step = chance.choices(["place", "pop", "discard", "page_out_one", "page_in", "move"], weights)[0]
            getattr(model, step)(chance.randrange(1000))
        doomed = chance.sample(sorted(model.entries), len(model.entries) * chance.randrange(3) // 3)
        for position in doomed:
            model.took(position, model.ready.discard(position))
        for position in chance.sample(doomed, len(doomed) // 2):
            held = model.entries[position] = model.removed.pop(position)
            model.ready.place(model.paged(held) if held.location else held.message, position, held.redelivered)
        model.check()
        model.look(0)
    while model.entries:
        model.pop(0)
    model.check()


def test_the_budget_reports_once_until_it_is_armed_again() -> None:
    model = Model(300)
    model.push(0)
    assert model.reports == 0
    model.push(0)
    model.push(0)
    assert model.reports == 1
    model.budget.rearm()
    model.push(0)
    assert model.reports == 2
