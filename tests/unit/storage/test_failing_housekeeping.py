"""Files that cannot be prepared or removed must not leave what the next start takes for a loss."""

import errno
import random

import pytest

from storage.committer import Committer
from storage.housekeeper import Housekeeper
from storage.options import JournalOptions
from storage.segment import Segment
from tests.simulation import disk as simulation
from tests.simulation.machine import BEGINNING_MS, SimulatedMachine
from tests.unit.storage.simulated_disk import SimulatedDisk
from tests.unit.storage.support import DIRECTORY, Owner, recover
from tests.unit.storage.test_reclaiming import fill_segment, open_on, segments_on


class FailingDisk(SimulatedDisk):
    """Fails once, when an operation of that name comes for a path that contains ``part``."""

    def __init__(self, operation: str, part: str, count: int = 1) -> None:
        super().__init__()
        self.failing = (operation, part)
        self.count = count

    def _fail(self, operation, path):
        if self.failing[0] == operation and self.failing[1] in path.name and self.count:
            self.count -= 1
            raise OSError(errno.EIO, "the disk fails")

    def open(self, path, create=False):
        self._fail("open", path)
        return super().open(path, create)

    def rename(self, source, target):
        self._fail("rename", source)
        super().rename(source, target)

    def remove(self, path):
        self._fail("remove", path)
        super().remove(path)


def let_go(owner: Owner, segments: list) -> None:
    """Release segments, and wait until the journal does without them."""
    count = owner.journal.segment_count
    for segment in segments:
        owner.journal.release(segment)
    owner.journal.append(1, b"acks")
    owner.commit()
    owner.wait(lambda: owner.journal.segment_count < count)


def test_no_segment_is_prepared_behind_one_that_could_not_be():
    disk = FailingDisk("open", "segment-0000000000000002")
    owner = open_on(disk)
    for _ in range(9):
        owner.journal.append(1, bytes(900))
    owner.wait(lambda: owner.journal.failed)
    owner.journal.abandon()
    assert disk.count == 0
    assert segments_on(disk) == [1]
    recover(disk.files)


@pytest.mark.parametrize("operation", ["remove", "rename"])
def test_a_segment_that_could_not_be_removed_goes_before_those_behind_it(operation):
    disk = FailingDisk(operation, "segment-0000000000000001")
    disk.count = 0
    owner = open_on(disk, options=JournalOptions(4096, 4096, 1 if operation == "rename" else 0))
    first, second = fill_segment(owner), fill_segment(owner)
    # The first of the two attempts to prepare and to remove is over.
    disk.count = 1
    let_go(owner, first)
    let_go(owner, second)
    owner.journal.close()
    assert disk.count == 0
    assert min(segments_on(disk)) >= 2
    recover(disk.files)


def test_a_file_is_not_used_again_before_its_old_name_is_gone_for_sure():
    disk = simulation.SimulatedDisk(random.Random(1))
    machine = SimulatedMachine(disk, random.Random(2), lambda _: None, BEGINNING_MS)
    options = JournalOptions(4096, 4096, 1)
    housekeeper = Housekeeper(machine, disk, DIRECTORY, options, 1, Committer(machine.disk, -1, 0), lambda: None)
    housekeeper.prepare(Segment(1), 4096, 0)
    machine.step()
    (name,) = disk.durable_names
    old = disk.durable_names[name].durable[:]
    disk.faults.errors[disk.operation_count + 2] = errno.EIO  # the sync after the renaming
    housekeeper.reclaim([1])
    machine.step()
    assert disk.error_count == 1
    assert list(disk.durable_names) == [name]
    disk.faults.power_off_at = disk.operation_count + 4  # a header is on disk, and has no name yet
    housekeeper.prepare(Segment(2), 4096, 0)
    machine.step()
    assert disk.durable_names[name].durable == old
