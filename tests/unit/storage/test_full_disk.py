"""A disk without room ends nothing: what was confirmed stays, the rest waits, and all of it goes on by itself."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.options import JournalOptions
from storage.recovery import Recovery
from tests.support.waiting import until
from tests.unit.storage.simulated_disk import CommitDisk, SimulatedDisk
from tests.unit.storage.support import SMALL, Owner, in_one_slice, recover

STATE = 128
SIZE = 4096


class SmallDisk(SimulatedDisk):
    """A disk with room for so many bytes; what there is no room for is written in part, as a full disk does it."""

    def __init__(self, capacity: int, code: int = errno.ENOSPC) -> None:
        super().__init__()
        self.capacity = capacity
        self.code = code
        self.refused = 0

    def demand(self, more: int) -> None:
        used = sum(len(inode.seen) for inode in self.names.values())
        if more > 0 and used + more > self.capacity:
            self.refused += 1
            raise OSError(self.code, os.strerror(self.code))

    def truncate(self, descriptor: int, size: int) -> None:
        with self.lock:
            self.demand(size - len(self.descriptors[descriptor].seen))
            super().truncate(descriptor, size)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        with self.lock:
            have = len(self.descriptors[descriptor].seen)
            try:
                self.demand(offset + len(data) - have)
            except OSError:
                # What fits is written, as pwrite does it.
                fits = self.capacity - sum(len(inode.seen) for inode in self.names.values())
                super().write(descriptor, data[: max(0, have - offset + fits)], offset)
                raise
            super().write(descriptor, data, offset)


def open_on(disk: SimulatedDisk, **keywords) -> Owner:
    owner = Owner(filesystem=disk, disk=CommitDisk(disk), **keywords)
    owner.open()
    return owner


def append(owner: Owner, payload: bytes, kind: int = 1) -> None:
    owner.journal.append(kind, payload)
    owner.journal.retain(owner.journal.current)


def fill_up(owner: Owner) -> list[bytes]:
    """Append messages until the journal stands still, and return them."""
    payloads = []
    journal = owner.journal
    while not journal.stuck:
        payloads.append(b"%d:" % len(payloads) + bytes(900))
        append(owner, payloads[-1])
        owner.wait(lambda: journal.stuck or journal.pending_batch == 0)
    return payloads


def wait_patiently(owner: Owner, condition: Callable[[], bool]) -> None:
    """Commit and try again what there was no room for until ``condition`` holds."""

    def holds() -> bool:
        owner.journal.retry()
        owner.journal.on_commit_finished()
        owner.journal.commit()
        return condition()

    until(holds)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_a_segment_stops_confirms_until_there_is_room(code):
    disk = SmallDisk(5 * SIZE, code)
    owner = open_on(disk)
    journal = owner.journal
    payloads = fill_up(owner)
    confirmed = list(owner.durable)
    assert not journal.failed
    assert owner.failures == []
    assert journal.out_of_room.errno == code
    assert journal.out_of_room.operation == "preparing"
    # For that there was the reserve.
    assert journal.out_of_room.file.name == "segment-0000000000000004"
    assert journal.obstacles[1].file.name == "segment-0000000000000005"
    assert journal.in_flight_seconds == 0.0
    append(owner, b"meanwhile")
    owner.journal.retry()
    owner.wait(lambda: journal.stuck)
    assert owner.durable == confirmed
    # What a crash leaves now is everything that was confirmed.
    found = [payload for _, _, payload in recover(disk.files)[0]]
    assert found == payloads[: len(found)]
    assert len(found) >= len(confirmed)
    disk.capacity *= 3
    wait_patiently(owner, lambda: journal.pending_batch == 0)
    wait_patiently(owner, lambda: journal.out_of_room is None)
    assert not journal.stuck
    journal.close()
    records, recovery = recover(disk.files)
    assert [payload for _, _, payload in records] == [*payloads, b"meanwhile"]
    assert recovery.clean


def test_the_alarm_comes_while_there_is_still_a_segment_to_write_into():
    disk = SmallDisk(2 * SIZE)
    owner = open_on(disk)
    journal = owner.journal
    while journal.current.number == 1:
        append(owner, bytes(900))
        owner.commit()
    owner.wait(lambda: journal.out_of_room is not None)
    assert not journal.stuck
    append(owner, b"confirmed in spite of it")
    owner.commit()
    assert not journal.failed
    journal.abandon()
    assert recover(disk.files)[0][-1][2] == b"confirmed in spite of it"


def test_a_batch_written_in_part_is_written_again():
    """A record larger than a segment makes its file grow, and the disk is full in the middle of it."""
    disk = SmallDisk(4 * SIZE)
    owner = open_on(disk)
    journal = owner.journal
    large = os.urandom(6 * SIZE)
    append(owner, b"small")
    append(owner, large)
    append(owner, b"behind")
    owner.wait(lambda: journal.stuck)
    assert "writing" in [obstacle.operation for obstacle in journal.obstacles]
    journal.retry()
    owner.wait(lambda: journal.stuck)
    assert owner.durable == []
    assert [payload for _, _, payload in recover(disk.files)[0]] == [b"small"]
    disk.capacity = 100 * SIZE
    wait_patiently(owner, lambda: journal.pending_batch == 0)
    assert owner.durable == [1]
    journal.close()
    assert [payload for _, _, payload in recover(disk.files)[0]] == [b"small", large, b"behind"]


def test_the_part_of_a_batch_that_is_on_disk_is_not_written_again():
    disk = SmallDisk(3 * SIZE)
    owner = open_on(disk)
    journal = owner.journal
    payloads = [b"%d" % number + bytes(1500) for number in range(12)]
    for payload in payloads:
        append(owner, payload)
    owner.wait(lambda: journal.stuck)
    first = disk.files["segment-0000000000000001"]
    inode = disk.names["segment-0000000000000001"]
    assert inode.durable[: len(first)] == first
    writes = []
    write = disk.write
    disk.write = lambda descriptor, data, offset: (  # type: ignore[method-assign]
        writes.append(disk.descriptors[descriptor]),
        write(descriptor, data, offset),
    )[1]
    disk.capacity = 100 * SIZE
    wait_patiently(owner, lambda: journal.pending_batch == 0)
    assert inode not in writes
    journal.close()
    assert [payload for _, _, payload in recover(disk.files)[0]] == payloads


def test_room_that_the_journal_itself_gives_back_is_enough():
    """Consumers go on: what they have settled makes room for what publishers have to wait for."""
    disk = SmallDisk(5 * SIZE)
    owner = open_on(disk)
    journal = owner.journal

    def next_is_there() -> bool:
        return f"segment-{journal.current.number + 1:016}" in disk.files

    segments = []
    while journal.out_of_room is None:
        journal.append(1, bytes(900))
        journal.retain(journal.current)
        segments.append(journal.current)
        wait_patiently(owner, lambda: next_is_there() or journal.out_of_room is not None)
    for segment in segments:
        journal.release(segment)
    journal.append(1, b"an acknowledgement")
    # Publishers are blocked until then, so that the last segment is left for what settles.
    wait_patiently(owner, next_is_there)
    for _ in range(40):
        journal.append(1, bytes(900))
        wait_patiently(owner, next_is_there)
    assert journal.current.number > 10
    journal.close()


@pytest.mark.parametrize("stuck", [True, False])
def test_closing_does_not_wait_for_room(stuck):
    disk = SmallDisk(5 * SIZE)
    owner = open_on(disk)
    if stuck:
        fill_up(owner)
    else:
        # Nobody knows yet that there is none.
        for _ in range(30):
            append(owner, bytes(900))
    confirmed = len(owner.durable)
    owner.journal.close()
    records, recovery = recover(disk.files)
    assert len(records) >= confirmed
    assert not recovery.clean
    assert owner.failures == []


def test_abandoning_does_not_wait_for_room():
    owner = open_on(SmallDisk(5 * SIZE))
    fill_up(owner)
    owner.journal.abandon()


def test_closing_writes_what_there_is_room_for_by_now():
    disk = SmallDisk(5 * SIZE)
    owner = open_on(disk)
    payloads = fill_up(owner)
    disk.capacity *= 3
    owner.journal.close()
    records, recovery = recover(disk.files)
    assert [payload for _, _, payload in records] == payloads
    assert recovery.clean


def test_a_journal_opens_on_a_full_disk():
    disk = SmallDisk(0)
    owner = open_on(disk)
    journal = owner.journal
    append(owner, b"first")
    owner.wait(lambda: journal.stuck)
    assert owner.durable == []
    disk.capacity = 10 * SIZE
    wait_patiently(owner, lambda: journal.pending_batch == 0)
    assert owner.durable == [1]
    journal.close()


def test_segments_are_prepared_in_order_even_if_one_could_not_be():
    """A segment that is missing between two others is what a lost one looks like."""

    class OneRefusal(SimulatedDisk):
        refusing = True

        def allocate(self, descriptor: int, size: int) -> None:
            name = next(name for name, inode in self.names.items() if inode is self.descriptors[descriptor])
            if ("3" in name or name.startswith("reserve-")) and self.refusing:
                raise OSError(errno.ENOSPC, "no space left on device")
            super().allocate(descriptor, size)

    disk = OneRefusal()
    owner = open_on(disk)
    journal = owner.journal
    for _ in range(12):
        append(owner, bytes(900))
    owner.wait(lambda: journal.stuck and len(journal.obstacles) >= 4)
    names = [name for name in disk.files if name.startswith("segment-")]
    assert names == ["segment-0000000000000001", "segment-0000000000000002"]
    recover(disk.files)
    disk.refusing = False
    wait_patiently(owner, lambda: journal.pending_batch == 0)
    journal.close()
    assert len(recover(disk.files)[0]) == 12


@pytest.mark.parametrize("operation", ["open", "allocate", "write", "sync", "rename"])
def test_a_segment_that_cannot_be_prepared_ends_the_journal_when_it_is_needed(operation, caplog):
    disk = SimulatedDisk()
    owner = open_on(disk)
    journal = owner.journal
    append(owner, b"confirmed")
    owner.commit()
    owner.wait(lambda: {"segment-0000000000000002", "reserve-checkpoint"} <= set(disk.files))

    def fail(*arguments: object, **keywords: object) -> object:
        # What the commit thread does with the same disk goes on working.
        if threading.current_thread().name == "journal-housekeeper":
            raise OSError(errno.EIO, "input/output error")
        return original(*arguments, **keywords)

    original = getattr(disk, operation)
    setattr(disk, operation, fail)
    while not journal.failed:
        append(owner, bytes(900))
        owner.wait(lambda: journal.failed or journal.pending_batch == 0)
    (failure,) = owner.failures
    assert (failure.operation, failure.errno) == ("preparing", errno.EIO)
    assert failure.file.name == "segment-0000000000000003"
    assert len(owner.durable) >= 5
    assert journal.housekeeping_failures >= 1
    assert f"preparing {failure.file} failed" in caplog.text
    # A full disk would be waited for; this is the end.
    journal.retry()
    confirmed = list(owner.durable)
    journal.close()
    assert owner.durable == confirmed
    records, _ = recover(disk.files)
    assert len(records) >= len(confirmed)


def test_a_disk_that_was_full_and_fails_then_is_waited_for_no_longer():
    class FullThenBroken(SimulatedDisk):
        code = errno.ENOSPC

        def allocate(self, descriptor: int, size: int) -> None:
            if "segment-0000000000000003.tmp" in self.names or "reserve-segment" in self.names:
                raise OSError(self.code, os.strerror(self.code))
            super().allocate(descriptor, size)

    disk = FullThenBroken()
    owner = open_on(disk)
    journal = owner.journal
    while journal.current.number == 1:
        append(owner, bytes(900))
        owner.commit()
    owner.wait(lambda: journal.out_of_room is not None)
    disk.code = errno.EIO
    wait_patiently(owner, lambda: journal.out_of_room is None)
    assert not journal.failed
    while not journal.failed:
        append(owner, bytes(900))
        owner.wait(lambda: journal.failed or journal.pending_batch == 0)
    assert owner.failures[0].errno == errno.EIO
    journal.close()


def test_what_could_not_be_prepared_leaves_no_file_behind():
    disk = SmallDisk(2 * SIZE)
    owner = open_on(disk)
    while owner.journal.current.number == 1:
        append(owner, bytes(900))
        owner.commit()
    owner.wait(lambda: owner.journal.out_of_room is not None)
    owner.journal.abandon()
    assert not [name for name in disk.files if name.endswith(".tmp")]


def test_a_checkpoint_without_room_is_written_when_there_is_some():
    disk = SmallDisk(8 * SIZE)
    owner = open_on(disk, snapshot=in_one_slice(lambda: bytes(20 * SIZE)))
    journal = owner.journal
    for _ in range(6):
        journal.append(STATE, bytes(900))
        owner.commit()
    owner.wait(lambda: journal.out_of_room is not None)
    assert journal.out_of_room.file.name.startswith("checkpoint-")
    assert not [name for name in disk.files if name.endswith(".tmp")]
    # With the room that is held for the next one.
    disk.capacity = 80 * SIZE
    journal.retry()
    owner.wait(lambda: journal.checkpoint_sequence > 0)
    wait_patiently(owner, lambda: journal.out_of_room is None)
    journal.close()
    assert len(recover(disk.files)[1].checkpoint.payload) == 20 * SIZE


def test_a_newer_checkpoint_takes_the_place_of_one_without_room():
    disk = SmallDisk(30 * SIZE)
    snapshots = [bytes(40 * SIZE)]
    owner = open_on(disk, snapshot=in_one_slice(lambda: snapshots.pop() if snapshots else b"newer"))
    journal = owner.journal
    while journal.checkpoint_sequence == 0:
        journal.append(STATE, bytes(900))
        wait_patiently(owner, lambda: journal.pending_batch == 0)
    wait_patiently(owner, lambda: journal.out_of_room is None)
    journal.close()
    assert recover(disk.files)[1].checkpoint.payload == b"newer"


def test_a_directory_that_cannot_be_synced_ends_the_journal():
    class BadDirectory(SimulatedDisk):
        failing = False
        syncs = 0

        def sync_directory(self, directory: Path) -> None:
            if self.failing:
                self.syncs += 1
                raise OSError(errno.ENOSPC, "no space left on device")
            super().sync_directory(directory)

    disk = BadDirectory()
    owner = open_on(disk)
    append(owner, b"confirmed")
    owner.commit()
    owner.wait(lambda: len(disk.files) == 4)
    disk.failing = True
    while not owner.journal.failed:
        append(owner, bytes(900))
        owner.wait(lambda: owner.journal.failed or owner.journal.pending_batch == 0)
    (failure,) = owner.failures
    assert (failure.file, failure.operation, failure.errno) == (owner.directory, "syncing", errno.ENOSPC)
    confirmed = list(owner.durable)
    owner.journal.close()
    assert owner.durable == confirmed
    assert disk.syncs == 1


def test_segments_that_cannot_be_removed_are_removed_later_and_in_order(caplog):
    class Sticky(SimulatedDisk):
        sticky = True

        def remove(self, path: Path) -> None:
            if path.name == "segment-0000000000000001" and self.sticky:
                raise OSError(errno.EIO, "input/output error")
            super().remove(path)

    disk = Sticky()
    owner = open_on(disk, options=JournalOptions(SIZE, SIZE, 0))
    journal = owner.journal
    for _ in range(20):
        journal.append(1, bytes(900))
        owner.commit()
    owner.wait(lambda: bool(journal.obstacles))
    assert journal.out_of_room is None
    assert journal.housekeeping_failures == 1
    assert str(journal.obstacles[0]) in caplog.text
    assert "segment-0000000000000001" in disk.files
    assert "segment-0000000000000002" in disk.files
    disk.sticky = False
    journal.retry()
    owner.wait(lambda: not journal.obstacles)
    assert "segment-0000000000000001" not in disk.files
    assert not journal.failed
    journal.close()


def test_a_checkpoint_that_fails_for_good_is_told_and_counted(caplog):
    class NoCheckpoints(SimulatedDisk):
        def open(self, path: Path, create: bool = False) -> int:
            if path.name.startswith("checkpoint-"):
                raise OSError(errno.EIO, "input/output error")
            return super().open(path, create)

    disk = NoCheckpoints()
    owner = open_on(disk, snapshot=in_one_slice(lambda: b"state"))
    journal = owner.journal
    while journal.housekeeping_failures == 0:
        journal.append(STATE, bytes(900))
        owner.commit()
    assert not journal.failed
    assert "checkpoint-" in caplog.text
    assert os.strerror(errno.EIO) in caplog.text
    journal.close()


def test_spare_files_are_given_back_when_room_is_short():
    disk = SimulatedDisk()
    owner = open_on(disk, options=JournalOptions(SIZE, SIZE, 4))
    journal = owner.journal

    def spares() -> int:
        return sum(name.startswith("spare-") for name in disk.files)

    segments = []
    for _ in range(30):
        journal.append(1, bytes(900))
        journal.retain(journal.current)
        segments.append(journal.current)
        owner.commit()
    for segment in segments:
        journal.release(segment)
    journal.append(1, b"")
    owner.commit()
    owner.wait(lambda: journal.segment_count == 1)
    journal.save_room(True)
    journal.close()
    assert spares() == 1
    assert SMALL.spare_files_max > 1


def test_on_a_real_disk_a_retry_changes_nothing_while_there_is_nothing_to_retry(tmp_path):
    owner = Owner(tmp_path)
    owner.open().retry()
    append(owner, b"a")
    owner.commit()
    owner.journal.close()
    recovery = Recovery(tmp_path)
    assert [payload for _, _, payload, _ in recovery.records()] == [b"a"]
    assert recovery.clean
    assert owner.journal.obstacles == []
    owner.journal.retry()
