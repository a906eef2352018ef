"""Copies of what is damaged: on disk for sure, whoever began with it."""

import random
from pathlib import Path

import pytest

from storage.cases import Case
from storage.damage import Damage, keep_copies, quarantine_directory
from storage.filesystem import LocalFilesystem
from tests.simulation.disk import Faults, SimulatedDisk

DIRECTORY = Path("/journal")
SEGMENT = DIRECTORY / "segment-0000000000000001"
DAMAGE = Damage(Case.RECORD_DAMAGED, SEGMENT, 1, 2, 3, 1, 1)


def disk_with_a_segment() -> SimulatedDisk:
    disk = SimulatedDisk(random.Random(1))
    disk.make_directory(DIRECTORY)
    descriptor = disk.open(SEGMENT, create=True)
    disk.write(descriptor, b"..bad..", 0)
    disk.sync(descriptor)
    disk.sync_directory(DIRECTORY)
    return disk


def test_a_copy_that_an_earlier_start_had_begun_with_outlives_a_loss_of_power():
    whole = disk_with_a_segment()
    begun = whole.operation_count
    keep_copies(whole, DIRECTORY, [DAMAGE])
    aside = quarantine_directory(DIRECTORY)
    (name,) = whole.list(aside)
    for power_off_at in range(begun + 1, whole.operation_count + 1):
        disk = disk_with_a_segment()
        disk.chance.random = lambda: 0.0  # of what was not synced, nothing is left
        disk.faults = Faults(power_off_at=power_off_at)
        with pytest.raises(OSError, match="the power goes off"):
            keep_copies(disk, DIRECTORY, [DAMAGE])
        disk.restart(power_lost=False)
        disk.faults = Faults()
        keep_copies(disk, DIRECTORY, [DAMAGE])
        disk.chance.randint = lambda first, last: first
        disk.restart(power_lost=True)
        assert disk.list(aside) == [name]
        assert disk.read(aside / name) == b"bad"


def test_a_directory_that_is_there_is_brought_on_disk_all_the_same(tmp_path):
    synced = []

    class Recording(LocalFilesystem):
        def sync_directory(self, directory: Path) -> None:
            synced.append(directory)
            super().sync_directory(directory)

    filesystem = Recording()
    (tmp_path / "vhosts").mkdir()
    filesystem.make_directory(tmp_path / "vhosts" / "journal")
    assert synced == [tmp_path, tmp_path / "vhosts"]
    synced.clear()
    filesystem.make_directory(tmp_path / "vhosts" / "journal")
    assert synced == [tmp_path / "vhosts"]
