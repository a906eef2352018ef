"""Reads sealed segments again and again, slowly, and reports what the disk does not give back as it was written.

It looks at what is on disk, not at what the page cache holds, and leaves nothing behind there. It changes nothing:
the next start puts aside what is damaged, ``haypile journal check`` names it.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from storage.cases import Case
from storage.damage import Damage
from storage.filesystem import Filesystem, LocalFilesystem
from storage.judge import Identity, identify
from storage.layout import HEADER_SIZE, segment_path
from storage.record import HEADER_SIZE as RECORD_HEADER_SIZE
from storage.record import peek, search, size_claimed, walk

CHUNK_SIZE = 1 << 20
SEARCH_SIZE_MAX = 8 << 20
"""How much is kept while a whole record is looked for behind a damaged one."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScrubberOptions:
    """How often a scrub begins, in seconds after the end of the one before, and how fast it reads."""

    interval_s: float
    bytes_per_s: int


class Scrubber:
    """Scrubs one journal in a thread of its own, from ``start`` until ``stop``.

    ``sealed`` returns the numbers of the segments to which nothing is added, and is called on the thread, as is
    ``report``, once for each damaged place. ``known`` are those that were reported before.
    """

    def __init__(
        self,
        directory: Path,
        sealed: Callable[[], list[int]],
        report: Callable[[Damage], None],
        options: ScrubberOptions,
        known: Iterable[Damage] = (),
        filesystem: Filesystem | None = None,
    ) -> None:
        self.bytes_read = 0
        self.rounds = 0
        self._directory = directory
        self._sealed = sealed
        self._report = report
        self._options = options
        self._filesystem = filesystem or LocalFilesystem()
        self._known = {(damage.segment, damage.offset) for damage in known}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-scrubber", daemon=True)

    def start(self) -> None:
        """Begin; the first scrub comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, wherever it is."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._options.interval_s):
            self.scrub()

    def scrub(self) -> None:
        """Read every sealed segment once."""
        numbers = self._sealed()
        self._known = {place for place in self._known if place[0] in numbers}
        for number in numbers:
            if self._stopping.is_set():
                return
            for damage in self._damages_in(number):
                # A segment that is not needed any more may be gone, or overwritten, by now.
                if number in self._sealed() and (number, damage.offset) not in self._known:
                    self._known.add((number, damage.offset))
                    self._report(damage)
        self.rounds += 1

    def _damages_in(self, number: int) -> list[Damage]:
        path = segment_path(self._directory, number)
        try:
            size = self._filesystem.size(path)
            return _Verification(path, number, size, self._read).run()
        except FileNotFoundError:
            return []
        except OSError as error:
            logger.error("scrubbing %s failed: %s", path, error)
            return []

    def _read(self, path: Path, offset: int) -> bytes:
        began = time.monotonic()
        try:
            data = self._filesystem.read_from_disk(path, offset, CHUNK_SIZE)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # What the disk does not give back is damaged; the records that stood there are found by their absence.
            logger.error("reading %s at offset %d failed: %s", path, offset, error)
            data = bytes(min(CHUNK_SIZE, max(self._filesystem.size(path) - offset, 0)))
        self.bytes_read += len(data)
        # At least this long for so many bytes, also when a stop cuts it short.
        self._stopping.wait(max(len(data) / self._options.bytes_per_s - (time.monotonic() - began), 0))
        return b"" if self._stopping.is_set() else data


class _Verification:
    """One pass over one segment, with at most a record and a chunk of it in memory."""

    def __init__(self, path: Path, number: int, size: int, read: Callable[[Path, int], bytes]) -> None:
        self._path = path
        self._number = number
        self._size = size
        self._read = read
        self._data = b""
        self._start = 0  # where in the file ``_data`` begins
        self._damages: list[Damage] = []

    def run(self) -> list[Damage]:
        """Return what is damaged."""
        self._more()
        identity = identify(self._data, 1)
        while not isinstance(identity, Identity) and len(self._data) < min(self._size, SEARCH_SIZE_MAX):
            if not self._more():
                return []
            identity = identify(self._data, 1)
        if not isinstance(identity, Identity):
            if self._data:
                self._found(Case.HEADER_LOST, 0, self._size)
            return self._damages
        if identity.case is not None:
            self._found(identity.case, 0, HEADER_SIZE)
        key = identity.seed, identity.epoch
        offset, sequence, sealed = HEADER_SIZE, 0, False
        while not sealed:
            at, sequence, sealed = walk(self._data, offset - self._start, *key, sequence)
            offset = self._start + at
            if sealed or offset >= self._size:
                break
            header = peek(self._data, at, *key)
            if header is not None and header[5]:
                self._found(Case.SEQUENCE_GAP, offset, 0, sequence)
                sequence = 0
                continue
            needed = max(size_claimed(self._data, at, *key), RECORD_HEADER_SIZE)
            if len(self._data) - at < needed and offset + needed <= self._size:
                self._drop(at)
                if not self._more():
                    return self._damages  # it is being stopped
                continue
            resumed = self._search(offset, key)
            if resumed is None:
                return self._damages
            self._found(Case.RECORD_DAMAGED, offset, resumed - offset, sequence)
            offset, sequence = resumed, 0
        return self._damages

    def _search(self, offset: int, key: tuple[int, int]) -> int | None:
        """Return where the next whole record is, the end of the file if there is none; None if it is being stopped."""
        begin = offset + 8
        while True:
            found, _ = search(self._data, max(begin - self._start, 0), *key, 1)
            if found >= 0:
                return self._start + found
            if self._start + len(self._data) >= self._size:
                return self._size
            self._drop(max(len(self._data) - SEARCH_SIZE_MAX, 0))
            if not self._more():
                return None

    def _more(self) -> bool:
        chunk = self._read(self._path, self._start + len(self._data))
        self._data += chunk
        return bool(chunk)

    def _drop(self, size: int) -> None:
        size -= size % 8
        self._data = self._data[size:]
        self._start += size

    def _found(self, case: Case, offset: int, size: int, sequence: int = 0) -> None:
        self._damages.append(Damage(case, self._path, self._number, offset, size, sequence))
