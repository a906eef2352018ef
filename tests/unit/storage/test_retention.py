"""What is not needed any more stays for as long, or for as much, as the options say, also across restarts."""

from collections.abc import Callable

import pytest

from storage.machine import Machine, Task
from storage.options import JournalOptions
from storage.retention import Retention
from storage.segment import Segment
from tests.unit.storage.simulated_disk import CommitDisk, SimulatedDisk
from tests.unit.storage.support import Owner
from tests.unit.storage.test_reclaiming import STATE, fill_segment, segments_on

SECOND_US = 1_000_000
BEGINNING_US = 1_700_000_000 * SECOND_US
SEGMENT_SIZE = 4096


class AtOnce:
    """A worker that does what it is asked for before it is left alone."""

    def put(self, task: Task) -> None:
        task()

    def stop(self) -> None: ...


class Clock(Machine):
    """A machine whose time stands still, also while files are prepared."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = BEGINNING_US

    def time_us(self) -> int:
        return self.now_us

    def worker(self, name: str) -> AtOnce:
        return AtOnce()


class History:
    """A journal on a disk that is remembered, with a clock that the test moves."""

    def __init__(self, **retention: int) -> None:
        self.disk = SimulatedDisk()
        self.machine = Clock()
        self.options = JournalOptions(SEGMENT_SIZE, SEGMENT_SIZE, 1, **retention)
        self.snapshots = 0
        self.open()

    def open(self) -> None:
        def snapshot():
            self.snapshots += 1
            return [b"state"]
            yield

        self.owner = Owner(
            filesystem=self.disk,
            disk=CommitDisk(self.disk),
            machine=self.machine,
            options=self.options,
            snapshot=snapshot,
        )
        self.journal = self.owner.open()

    def restart(self) -> None:
        self.journal.close()
        self.open()

    def fill(self, kind: int = 1) -> None:
        """Fill a segment whose records nobody needs any more; a second passes."""
        for segment in fill_segment(self.owner, kind):
            if kind == 1:
                self.journal.release(segment)
        self.machine.now_us += SECOND_US

    def numbers(self) -> list[int]:
        """The segments with records that the journal has, after a commit."""
        self.journal.append(1, b"turn")
        self.owner.commit()
        return [*self.journal.sealed_segments(), self.journal.current.number]

    def wait_for(self, first: int) -> None:
        """Wait until the segments before ``first`` are gone."""
        self.owner.wait(lambda: [*self.journal.sealed_segments(), self.journal.current.number][0] >= first)
        assert [*self.journal.sealed_segments(), self.journal.current.number][0] == first

    def close(self, first: int) -> None:
        self.journal.close()
        assert min(segments_on(self.disk)) == first


def test_without_retention_nothing_is_kept():
    history = History()
    for _ in range(3):
        history.fill()
    history.numbers()
    history.wait_for(4)
    history.close(4)


def test_segments_stay_until_their_youngest_record_is_too_old():
    history = History(retention_s=10)
    for _ in range(4):
        history.fill()
    # Sealed in the seconds 0 to 3.
    assert history.numbers() == [1, 2, 3, 4, 5]
    history.machine.now_us = BEGINNING_US + 10 * SECOND_US
    assert history.numbers()[0] == 1
    history.machine.now_us = BEGINNING_US + 12 * SECOND_US
    history.numbers()
    history.wait_for(3)
    history.machine.now_us = BEGINNING_US + 60 * SECOND_US
    # There are no commits any more, but somebody asks now and then.
    history.journal.reconsider()
    history.wait_for(5)
    history.close(5)


def test_the_oldest_go_while_all_together_are_too_large():
    history = History(retention_bytes=3 * SEGMENT_SIZE)
    for _ in range(3):
        history.fill()
    assert history.numbers() == [1, 2, 3, 4]
    history.fill()
    history.numbers()
    history.wait_for(2)
    history.close(2)


def test_of_two_limits_the_first_that_is_exceeded_lets_go():
    history = History(retention_bytes=3 * SEGMENT_SIZE, retention_s=100)
    for _ in range(4):
        history.fill()
    history.numbers()
    history.wait_for(2)
    history.machine.now_us += 1000 * SECOND_US
    history.numbers()
    history.wait_for(5)
    history.close(5)


def test_a_restart_keeps_what_is_kept():
    history = History(retention_s=10)
    for _ in range(3):
        history.fill()
    assert history.numbers() == [1, 2, 3, 4]
    history.restart()
    assert history.numbers() == [1, 2, 3, 4, 5]
    records = [payload for _, _, payload in history.owner.records]
    assert records.count(bytes(900)) == 3 * len(records[:-1]) // 3
    # Its end is not known better than by the restart, so the last ones stay a little longer.
    history.machine.now_us = BEGINNING_US + 12 * SECOND_US
    history.numbers()
    history.wait_for(3)
    history.close(3)


def test_what_is_needed_stays_and_what_is_behind_it_too():
    history = History(retention_s=1)
    held = fill_segment(history.owner)
    history.fill()
    history.machine.now_us += 100 * SECOND_US
    assert history.numbers() == [1, 2, 3]
    for segment in held:
        history.journal.release(segment)
    history.numbers()
    history.wait_for(3)
    history.close(3)


def test_no_checkpoint_is_taken_for_what_stays_anyway():
    history = History(retention_s=10)
    history.fill(STATE)
    history.fill()
    assert history.numbers() == [1, 2, 3]
    assert history.snapshots == 0
    history.machine.now_us += 100 * SECOND_US
    history.numbers()
    history.wait_for(3)
    assert history.snapshots == 1
    history.close(3)


@pytest.mark.parametrize("retention", [{"retention_s": 1 << 20}, {"retention_bytes": 1 << 40}])
def test_a_full_disk_matters_more_than_history(retention: dict[str, int]):
    history = History(**retention)
    for _ in range(3):
        history.fill()
    assert history.numbers() == [1, 2, 3, 4]
    history.journal.save_room(True)
    history.wait_for(4)
    history.journal.save_room(False)
    history.fill()
    assert history.numbers() == [4, 5]
    history.close(4)


def segments(first: int, count: int, created: Callable[[int], int]) -> list[Segment]:
    made = [Segment(number) for number in range(first, first + count)]
    for segment in made:
        segment.created_us = created(segment.number)
    return made


def test_a_header_that_is_lost_is_made_up_for_by_the_next():
    known = segments(1, 6, lambda number: 0 if number == 3 else number * SECOND_US)
    retention = Retention(JournalOptions(retention_s=10))
    assert retention.count(known[:4], 4, known[4:], 14 * SECOND_US) == 0
    assert retention.count(known[:4], 4, known[4:], 15 * SECOND_US + 1) == 3
    unknown = segments(1, 6, lambda number: 0)
    assert Retention(JournalOptions(retention_s=10)).count(unknown[:4], 4, unknown[4:], 1 << 60) == 0
