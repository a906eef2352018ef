"""The journal with an owner, on a disk that is full from any of its operations on, for a while.

Whatever was refused is done later: in the end nothing is missing. And a crash in between leaves all that was confirmed.
"""

import errno
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import until
from tests.unit.storage.simulated_disk import CommitDisk, SimulatedDisk
from tests.unit.storage.support import Owner, in_one_slice
from tests.unit.storage.test_crashes import Run

SEED = 20_261_121
STEPS = range(1, 100, 2)


class FullForAWhile(SimulatedDisk):
    """Has no room for the operations from ``full_at`` to ``room_at``. Syncs want none."""

    def __init__(self, full_at: int, room_at: int) -> None:
        super().__init__()
        self.full_at, self.room_at = full_at, room_at
        self.syncing = False
        self.refused = 0

    @contextmanager
    def _sync(self) -> Iterator[None]:
        with self.lock:
            self.syncing = True
            try:
                yield
            finally:
                self.syncing = False

    def sync(self, descriptor: int) -> None:
        with self._sync():
            super().sync(descriptor)

    def sync_directory(self, directory: Path) -> None:
        with self._sync():
            super().sync_directory(directory)

    def step(self) -> None:
        super().step()
        if not self.syncing and self.full_at <= self.operation_count < self.room_at:
            self.refused += 1
            raise OSError(errno.ENOSPC, "no space left on device")


class PatientOwner(Owner):
    """Tries again, as the broker does."""

    def commit(self) -> None:
        journal = self.journal

        def is_done() -> bool:
            journal.commit()
            journal.retry()
            journal.on_commit_finished()
            return journal.failed or journal.pending_batch == 0

        until(is_done)


def patient_run(disk: SimulatedDisk) -> Run:
    run = Run(disk)
    run.owner = PatientOwner(filesystem=disk, disk=CommitDisk(disk), snapshot=in_one_slice(run.model.snapshot))
    return run


@pytest.mark.parametrize("length", [1, 3, 25])
def test_nothing_is_missing_after_the_disk_was_full(length: int) -> None:
    print(f"seed {SEED}")
    refused = 0
    for full_at in STEPS:
        disk = FullForAWhile(full_at, full_at + length)
        run = patient_run(disk)
        run.recover()
        run.work(random.Random(SEED + full_at), 0)
        run.owner.commit()
        expected = run.model.state()
        run.owner.journal.close()
        assert run.owner.failures == [], full_at
        refused += disk.refused
        after = Run(SimulatedDisk(disk.files))
        after.recover()
        assert after.model.state() == expected, full_at
        after.owner.journal.abandon()
    assert refused >= 10


@pytest.mark.parametrize("kill", [True, False], ids=["kill", "power"])
def test_a_crash_on_a_full_disk_leaves_what_was_confirmed(kill: bool) -> None:
    print(f"seed {SEED}")
    for crash_at in STEPS:
        chance = random.Random(SEED + crash_at)
        disk = FullForAWhile(crash_at - chance.randrange(1, 30), crash_at)
        disk.crash_at = crash_at
        run = patient_run(disk)
        run.recover()
        states = run.work(chance, 0)
        run.owner.journal.abandon()
        files = disk.files if kill else disk.after_power_loss(chance)
        after = Run(SimulatedDisk(files))
        after.recover()
        assert after.model.state() in states, crash_at
        after.owner.journal.abandon()
