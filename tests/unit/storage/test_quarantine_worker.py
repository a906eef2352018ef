"""Copies of damage while the journal is open: many are one, nobody waits for them, and none comes too late."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import quarantine
from storage.damage import quarantine_directory
from storage.filesystem import write_file
from storage.layout import segment_path
from storage.quarantine import COPY_SIZE_MAX, Quarantine
from storage.segment import Segment
from tests.simulation.disk import SimulatedDisk
from tests.simulation.machine import BEGINNING_MS, Pace, SimulatedMachine

DIRECTORY = Path("/journal")
SIZE = 1 << 16


class Bench:
    """A quarantine on a simulated machine, with two segments, and what was done to the disk."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk(random.Random(1))
        self.disk.make_directory(DIRECTORY)
        self.content = random.Random(2).randbytes(SIZE)
        self.segments = [Segment(1), Segment(2)]
        for segment in self.segments:
            write_file(self.disk, segment_path(DIRECTORY, segment.number), self.content)
        self.operations: list[str] = []
        self.machine = SimulatedMachine(self.disk, random.Random(3), self.operations.append, BEGINNING_MS)
        self.machine.pace = Pace()
        self.rung = 0
        self.quarantine = Quarantine(self.machine, self.disk, DIRECTORY, self.ring)

    def ring(self) -> None:
        self.rung += 1

    def finish(self) -> None:
        while self.machine.step():
            self.quarantine.collect()

    def copies(self) -> dict[str, bytes]:
        aside = quarantine_directory(DIRECTORY)
        return {name: bytes(self.disk.durable_names[str(aside / name)].durable) for name in self.disk.list(aside)}

    def count(self, is_counted: Callable[[str], bool]) -> int:
        return sum(is_counted(operation) for operation in self.operations)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_is_read_nor_written_on_the_thread_of_the_journal(bench: Bench) -> None:
    assert bench.machine.actors == []
    bench.quarantine.keep(bench.segments[0], 100, 20)
    assert bench.operations == []
    assert [actor.name for actor in bench.machine.actors] == ["journal-quarantine"]


def test_a_segment_is_held_until_its_copies_are_on_disk(bench: Bench) -> None:
    first, second = bench.segments
    bench.quarantine.keep(first, 100, 20)
    bench.quarantine.keep(second, 200, 20)
    assert (first.live, second.live) == (1, 1)
    bench.machine.step()
    assert (first.live, second.live) == (1, 1)
    assert bench.rung == 1
    bench.quarantine.collect()
    assert (first.live, second.live) == (0, 1)
    bench.finish()
    assert (first.live, second.live) == (0, 0)
    assert sorted(bench.copies().values()) == sorted([bench.content[100:120], bench.content[200:220]])
    assert all(segment.live_units == 0 for segment in bench.segments)


def test_thousands_of_records_side_by_side_are_a_few_copies(bench: Bench) -> None:
    bench.quarantine.keep(bench.segments[1], 0, 8)
    for offset in range(0, SIZE, 16):
        bench.quarantine.keep(bench.segments[0], offset, 20)
    bench.finish()
    assert sorted(bench.copies().values(), key=len) == [bench.content[:8], bench.content]
    assert bench.count(lambda operation: operation.startswith("read")) == 2


def test_the_directory_is_listed_and_synced_once_for_all_of_a_segment(bench: Bench) -> None:
    bench.quarantine.keep(bench.segments[1], 0, 8)
    bench.machine.step()
    bench.operations.clear()
    for offset in range(0, SIZE, 1024):
        bench.quarantine.keep(bench.segments[0], offset, 20)
    bench.quarantine.collect()
    bench.finish()
    assert len(bench.copies()) == 1 + SIZE // 1024
    # The journal's, as nobody knows who made the quarantine, and that one before the copies and behind them.
    assert bench.count(lambda operation: operation == "sync directory") == 3


def test_a_copy_does_not_grow_without_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "COPY_SIZE_MAX", 4096)
    assert COPY_SIZE_MAX > SIZE
    bench.quarantine.keep(bench.segments[1], 0, 8)
    for offset in range(0, SIZE, 16):
        bench.quarantine.keep(bench.segments[0], offset, 16)
    bench.finish()
    sizes = [len(copy) for copy in bench.copies().values()]
    assert sum(sizes) == SIZE + 8
    assert max(sizes) == 4096


def test_what_waits_is_limited(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "STRETCHES_WAITING_MAX", 5)
    bench.quarantine.keep(bench.segments[1], 0, 8)
    for offset in range(0, SIZE, 1024):
        bench.quarantine.keep(bench.segments[0], offset, 20)
    bench.finish()
    copies = [copy for copy in bench.copies().values() if len(copy) != 8]
    assert len(copies) == 5
    assert all(bench.content[at : at + 20] in b"".join(copies) for at in range(0, SIZE, 1024))


def test_a_disk_that_fails_holds_up_nothing(bench: Bench) -> None:
    bench.disk.lose(str(segment_path(DIRECTORY, 1)))
    bench.quarantine.keep(bench.segments[0], 100, 20)
    bench.quarantine.keep(bench.segments[1], 100, 20)
    bench.finish()
    assert [segment.live for segment in bench.segments] == [0, 0]
    assert list(bench.copies().values()) == [bench.content[100:120]]


def test_places_that_the_disk_refuses_are_zeros_in_the_copy(bench: Bench) -> None:
    bench.disk.names[str(segment_path(DIRECTORY, 1))].unreadable.add(1)
    bench.quarantine.keep(bench.segments[0], 4000, 8000)
    bench.finish()
    expected = bench.content[4000:4096] + bytes(4096) + bench.content[8192:12000]
    assert list(bench.copies().values()) == [expected]


def test_the_end_waits_for_what_was_asked_for(bench: Bench) -> None:
    bench.quarantine.keep(bench.segments[0], 100, 20)
    bench.quarantine.keep(bench.segments[1], 200, 20)
    bench.quarantine.stop()
    assert sorted(bench.copies().values()) == sorted([bench.content[100:120], bench.content[200:220]])
    assert bench.machine.actors == []
