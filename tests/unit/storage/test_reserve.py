"""A disk that the journal itself has filled is no deadlock: room is held for what makes room."""

import errno
from pathlib import Path

import pytest

from storage.journal import Journal
from storage.layout import RESERVED_CHECKPOINT_NAME, RESERVED_SEGMENT_NAME
from storage.options import JournalOptions
from storage.recovery import Recovery
from storage.replayer import Replayer
from storage.reserve import CHECKPOINT_DIVISOR, CHECKPOINT_GROWTH, Reserve
from storage.segment import UNIT_SIZE, Segment
from tests.support.waiting import until
from tests.unit.storage.simulated_disk import CommitDisk, SimulatedDisk
from tests.unit.storage.support import DIRECTORY, Owner, in_one_slice, recover
from tests.unit.storage.test_full_disk import STATE, SmallDisk

SIZE = 16384
CAPACITY = 12 * SIZE
MESSAGE, SETTLED = 1, 2
OPTIONS = JournalOptions(SIZE, SIZE // 4)


class Queue:
    """An owner with one queue: messages that are published, and settled in their order."""

    def __init__(self, disk: SimulatedDisk, options: JournalOptions = OPTIONS) -> None:
        self.owner = Owner(
            filesystem=disk,
            disk=CommitDisk(disk),
            options=options,
            snapshot=in_one_slice(lambda: b"a queue"),
            replayer=Replayer(),
        )
        self.journal = self.owner.open()
        self.published = 0
        self.messages = {}
        for segment in self.owner.recovery.segments:
            segment.retain(0)
        self.records = self.owner.records
        settled = {int(payload) for kind, _, payload in self.records if kind == SETTLED}
        places = self._places()
        for kind, sequence, payload in self.records:
            if kind == MESSAGE:
                number = int(payload.split(b":")[0])
                self.published = max(self.published, number + 1)
                if number not in settled:
                    self.messages[number] = places[sequence]
                    self.journal.retain(places[sequence])
        for segment in self.owner.recovery.segments:
            segment.release(0)

    def _places(self):
        places, first = {}, 1
        for segment in self.owner.recovery.segments:
            for sequence in range(first, segment.last_sequence + 1):
                places[sequence] = segment
            first = segment.last_sequence + 1
        return places

    def publish(self, size: int = 1000) -> None:
        self.journal.append(MESSAGE, b"%d:" % self.published + bytes(size))
        self.journal.retain(self.journal.current)
        self.messages[self.published] = self.journal.current
        self.published += 1

    def settle(self) -> None:
        number = min(self.messages)
        self.journal.append(SETTLED, b"%d" % number)
        self.journal.release(self.messages.pop(number))

    def turn(self) -> None:
        """Do what an event loop does, with the broker's patience."""
        self.journal.commit()
        self.journal.retry()
        self.journal.on_commit_finished()

    def wait_until_written(self) -> None:
        until(lambda: self.turn() or self.journal.pending_batch == 0)

    def fill(self) -> None:
        """Publish as long as that is allowed."""
        while self.journal.out_of_room is None:
            self.publish()
            self.owner.wait(lambda: self.journal.pending_batch == 0)
            self.wait_for_housekeeper()

    def wait_for_housekeeper(self) -> None:
        """Let it prepare the next segment, or say that it cannot."""
        number = self.journal.current.number + 1
        self.owner.wait(
            lambda: self.journal.out_of_room is not None or f"segment-{number:016}" in self.owner.filesystem.files
        )

    def drain(self, left: int = 0) -> None:
        while len(self.messages) > left:
            self.settle()
            self.wait_until_written()


def names(disk: SimulatedDisk, prefix: str) -> list[str]:
    return [name for name in disk.files if name.startswith(prefix)]


def unsettled(disk: SimulatedDisk) -> list[int]:
    """Return the numbers of the messages that a start finds."""
    records = recover(disk.files)[0]
    settled = {int(payload) for kind, _, payload in records if kind == SETTLED}
    found = [int(payload.split(b":")[0]) for kind, _, payload in records if kind == MESSAGE]
    return [number for number in found if number not in settled]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_what_is_settled_makes_room_on_a_disk_that_the_journal_has_filled(code: int) -> None:
    disk = SmallDisk(CAPACITY, code)
    queue = Queue(disk)
    queue.journal.append(STATE, b"a queue")
    for _ in range(3):
        queue.fill()
        filled = queue.published
        # Publishers have to wait, and there is room for what is settled.
        queue.drain(5)
        until(lambda: queue.turn() or queue.journal.out_of_room is None)
        assert not queue.journal.stuck
        assert queue.published == filled
    assert queue.journal.checkpoint_sequence > 0
    queue.publish()
    queue.wait_until_written()
    queue.journal.close()
    assert unsettled(disk) == sorted(queue.messages)
    assert queue.owner.failures == []


@pytest.mark.parametrize(("ends", "shared"), [(1, True), (4, False)], ids=["shared", "own"])
def test_the_reserve_outlasts_a_restart_on_the_full_disk(ends: int, shared: bool) -> None:
    disk = SmallDisk(CAPACITY)
    queue = Queue(disk)
    queue.journal.append(STATE, b"a queue")
    queue.fill()
    for _ in range(ends):
        queue.journal.abandon()
        if shared:
            # Whatever a recovery gives back is taken by somebody else.
            Recovery(DIRECTORY, disk).apply()
            disk.capacity = sum(map(len, disk.files.values()))
        kept = sorted(queue.messages)
        queue = Queue(disk)
        assert sorted(queue.messages) == kept
        queue.settle()
        queue.wait_until_written()
    until(lambda: queue.turn() or queue.journal.out_of_room is not None)
    queue.drain()
    until(lambda: queue.turn() or queue.journal.out_of_room is None)
    queue.publish()
    queue.wait_until_written()
    queue.journal.close()
    assert unsettled(disk) == sorted(queue.messages)


def test_the_alarm_comes_when_the_reserve_is_touched_and_more_than_a_segment_is_left() -> None:
    disk = SmallDisk(CAPACITY)
    queue = Queue(disk)
    queue.fill()
    assert queue.journal.out_of_room.operation == "preparing"
    until(lambda: RESERVED_SEGMENT_NAME not in disk.files)
    assert RESERVED_CHECKPOINT_NAME in disk.files
    at_alarm = queue.journal.current.number
    while not queue.journal.stuck:
        queue.publish()
        queue.owner.wait(lambda: queue.journal.stuck or queue.journal.pending_batch == 0)
    assert queue.journal.current.number == at_alarm + 2
    confirmed = queue.owner.durable[-1]
    # As before there was a reserve: what was confirmed stays, and the rest waits for room from outside.
    disk.capacity *= 2
    queue.wait_until_written()
    assert queue.owner.durable[-1] > confirmed
    until(lambda: queue.turn() or queue.journal.out_of_room is None)
    assert RESERVED_SEGMENT_NAME in disk.files
    queue.journal.close()
    assert unsettled(disk) == sorted(queue.messages)


def test_a_reserve_that_is_larger_than_the_first_segment_is_used_to_its_end() -> None:
    """The first segment of a start is a small one, as somebody waits for it; on a full disk it is all there is."""
    disk = SmallDisk(CAPACITY)
    Queue(disk).journal.close()
    for name in names(disk, "spare-"):
        disk.remove(DIRECTORY / name)
    disk.capacity = sum(map(len, disk.files.values()))
    queue = Queue(disk)
    number = queue.journal.current.number
    queue.journal.append(SETTLED, b"0")
    queue.wait_until_written()
    assert RESERVED_SEGMENT_NAME not in disk.files
    while queue.journal.current.size + 1100 < SIZE:
        queue.publish()
        queue.wait_until_written()
    assert queue.journal.current.number == number
    queue.journal.abandon()


def test_room_for_a_checkpoint_is_held_as_the_last_one_says() -> None:
    disk = SimulatedDisk()
    reserve = Reserve(disk, DIRECTORY, SIZE)
    while not reserve.is_whole:
        reserve.make_next()
    assert len(disk.files[RESERVED_SEGMENT_NAME]) == SIZE
    assert len(disk.files[RESERVED_CHECKPOINT_NAME]) == SIZE // CHECKPOINT_DIVISOR
    reserve.expect_checkpoint(100)
    assert reserve.is_whole
    reserve.expect_checkpoint(SIZE)
    assert not reserve.is_whole
    assert reserve.make_next() == CHECKPOINT_GROWTH * SIZE
    # A later process takes what it finds.
    later = Reserve(disk, DIRECTORY, SIZE)
    assert not later.is_whole
    later.find()
    assert later.is_whole
    another_size = Reserve(disk, DIRECTORY, 2 * SIZE)
    another_size.find()
    assert another_size.make_next() == 2 * SIZE
    assert another_size.is_whole


def test_a_checkpoint_takes_the_room_that_is_held_for_it() -> None:
    disk = SmallDisk(1 << 30)
    state = bytes(SIZE // CHECKPOINT_DIVISOR - 64)
    owner = Owner(filesystem=disk, disk=CommitDisk(disk), options=OPTIONS, snapshot=in_one_slice(lambda: state))
    journal = owner.open()
    owner.wait(lambda: RESERVED_CHECKPOINT_NAME in disk.files and len(names(disk, "segment-")) == 2)
    journal.append(STATE, b"a queue")
    while journal.current.number == 1:
        journal.append(MESSAGE, bytes(900))
    disk.capacity = sum(map(len, disk.files.values()))
    owner.wait(lambda: journal.checkpoint_sequence > 0)
    assert RESERVED_CHECKPOINT_NAME not in disk.files
    owner.wait(lambda: journal.out_of_room is not None)
    disk.capacity = 1 << 30
    until(lambda: journal.retry() or journal.on_commit_finished() or journal.out_of_room is None)
    assert len(disk.files[RESERVED_CHECKPOINT_NAME]) == CHECKPOINT_GROWTH * (len(state) + 64)
    journal.close()


def test_an_index_does_not_take_the_room_of_settlements() -> None:
    disk = SmallDisk(CAPACITY)
    queue = Queue(disk)
    queue.fill()
    until(lambda: RESERVED_SEGMENT_NAME not in disk.files)
    disk.capacity = CAPACITY + SIZE // 2
    before = names(disk, "segment-")
    queue.journal.close()
    assert names(disk, "segment-") == before


def test_who_owns_the_journal_is_told_of_room_that_is_taken_and_that_is_missing() -> None:
    disk = SmallDisk(CAPACITY)
    told = []
    owner = Owner(filesystem=disk, disk=CommitDisk(disk), options=OPTIONS)
    recovery = Recovery(DIRECTORY, disk)
    list(recovery.records())
    owner.journal = journal = Journal(
        recovery,
        durable=lambda _: None,
        failed=owner.failures.append,
        room=lambda: told.append((journal.taken_bytes, journal.out_of_room is not None)),
        options=OPTIONS,
        disk=CommitDisk(disk),
    )
    while not told or not told[-1][1]:
        journal.append(MESSAGE, bytes(1000))
        journal.retain(journal.current)
        owner.wait(lambda: journal.pending_batch == 0)
    assert len(told) <= 2 * len(disk.files)
    assert told == sorted(set(told))
    assert CAPACITY - SIZE < told[-1][0] <= CAPACITY
    disk.capacity *= 2
    until(lambda: journal.retry() or journal.on_commit_finished() or not told[-1][1])
    journal.close()


class FullDirectory(SmallDisk):
    """A disk on which one new name more takes a block of the directory, which takes room."""

    block_size = 4096

    def __init__(self, capacity: int, crowded: str) -> None:
        super().__init__(capacity)
        self.crowded = crowded
        self.grown = 0

    def rename(self, source: Path, target: Path) -> None:
        with self.lock:
            if target.name.startswith(self.crowded) and not self.grown:
                self.demand(self.block_size)
                self.grown = self.block_size
                self.capacity -= self.block_size
            super().rename(source, target)


def test_a_new_name_takes_room_that_is_held_for_a_checkpoint() -> None:
    disk = FullDirectory(CAPACITY, "segment-")
    disk.grown = 1
    queue = Queue(disk)
    queue.wait_for_housekeeper()
    disk.capacity = sum(map(len, disk.files.values()))
    disk.grown = 0
    queue.fill()
    until(lambda: RESERVED_SEGMENT_NAME not in disk.files)
    queue.owner.wait(lambda: disk.grown > 0)
    assert RESERVED_CHECKPOINT_NAME not in disk.files
    queue.drain(2)
    disk.capacity += 2 * SIZE
    until(lambda: queue.turn() or queue.journal.out_of_room is None)
    queue.journal.close()
    assert unsettled(disk) == sorted(queue.messages)


def test_where_a_new_name_has_no_room_the_file_goes() -> None:
    disk = FullDirectory(CAPACITY, "reserve-")
    queue = Queue(disk)
    queue.fill()
    queue.drain(2)
    until(lambda: queue.turn() or queue.journal.out_of_room is None)
    queue.journal.close()
    assert unsettled(disk) == sorted(queue.messages)


def test_a_start_on_a_full_disk_does_without_a_spare_file_that_it_cannot_name() -> None:
    disk = FullDirectory(CAPACITY, "spare-")
    queue = Queue(disk)
    queue.fill()
    queue.journal.abandon()
    disk.capacity = sum(map(len, disk.files.values()))
    recovery = Recovery(DIRECTORY, disk)
    list(recovery.records())
    recovery.apply()
    assert recovery.spares == []
    assert disk.refused > 0
    assert unsettled(disk) == sorted(queue.messages)


class IdleMover:
    """Takes note of the segments that it is asked to empty, and leaves them as they are."""

    moved_bytes = 0
    waits = False

    def __init__(self) -> None:
        self.begun: list[int] = []

    def begin(self, segment: Segment) -> None:
        self.begun.append(segment.number)

    def prepare(self) -> bool:
        return True

    def offer(self, data: bytes, offset: int) -> None:
        pass

    def move(self) -> bool:
        return True

    def next_piece(self) -> tuple[int, int]:
        return 0, 0

    def clear(self) -> bool:
        return True

    def end(self) -> bool:
        return True


@pytest.mark.parametrize(("living_size", "begins"), [(SIZE // 2, True), (SIZE // 2 + 8, False)])
def test_on_a_full_disk_nothing_is_copied_that_takes_much_room(living_size: int, begins: bool) -> None:
    disk = SmallDisk(CAPACITY)
    queue = Queue(disk)
    first = queue.journal.current
    first.retain(living_size // UNIT_SIZE)
    queue.fill()
    mover = IdleMover()
    queue.journal.compact_with(mover)
    for _ in range(3):
        queue.settle()
        queue.wait_until_written()
    assert queue.journal.out_of_room is not None
    assert (first.number in mover.begun) == begins
    disk.capacity *= 2
    until(lambda: queue.turn() or queue.journal.out_of_room is None)
    queue.settle()
    until(lambda: queue.turn() or first.number in mover.begun)
    queue.journal.abandon()
