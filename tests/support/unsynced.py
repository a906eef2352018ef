"""A machine that syncs nothing: for tests of what a process leaves behind when it ends, and not the power.

What was written is there for the next process at once. Tests with a real broker sync, and the simulations know what a
disk may forget.
"""

from pathlib import Path

from storage.disk import PythonDisk
from storage.filesystem import LocalFilesystem
from storage.machine import Machine


class UnsyncedDisk(PythonDisk):
    """Does everything but sync."""

    def on_sync(self, descriptor: int) -> None:
        """Do nothing."""


class UnsyncedFilesystem(LocalFilesystem):
    """Does everything but sync."""

    def sync(self, descriptor: int) -> None:
        """Do nothing."""

    def sync_directory(self, directory: Path) -> None:
        """Do nothing."""


def unsynced_machine() -> Machine:
    """Return a new one."""
    return Machine(UnsyncedFilesystem(), UnsyncedDisk())
