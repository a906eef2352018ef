from enum import IntEnum
from pathlib import Path
from typing import Any

from storage.disk import Disk
from storage.worker import Worker

class FetchStatus(IntEnum):
    """What became of one record."""

    NOT_READ = 0
    READ = 1
    DAMAGED = 2
    UNREADABLE = 3

class Fetch:
    """Records that are to be read back, in the order of their places as far as possible.

    ``owner`` is whatever the one who gets them needs to know.
    """

    owner: Any
    def __init__(self, owner: Any = None) -> None: ...
    def __len__(self) -> int: ...
    def add(self, position: int, location: int, body_size: int) -> None:
        """Add a record: ``location`` is the number of its segment times 2 to the 32, plus its offset in units of 8."""
    def results(self) -> list[tuple[int, FetchStatus, bytes | None]]:
        """Return (position, status, payload) for each record."""

class Fetcher(Worker):
    """Reads records of the segments in ``directory``, on a thread of its own.

    ``completion`` is an eventfd, which is written when a fetch is finished.
    """

    def __init__(self, disk: Disk, directory: Path, completion: int) -> None: ...
    def submit(self, fetch: Fetch) -> bool: ...
    def take_finished(self) -> list[Fetch]: ...
    def forget_files(self) -> None: ...
