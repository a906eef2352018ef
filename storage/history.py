"""Reading records where they stand in the log, a piece at a time, whether anybody needs them still or not.

Nothing here is for the event loop's thread. A segment may go while it is read: what stands there then is not of this
segment, and is not taken for it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.filesystem import Filesystem
from storage.layout import HEADER_SIZE, segment_path
from storage.record import HEADER_SIZE as RECORD_HEADER_SIZE
from storage.record import search, size_claimed, size_of, walk
from storage.segment import Segment

CHUNK_SIZE = 1 << 20
SEARCH_SIZE_MAX = 8 << 20
"""So much is looked through for a whole record behind a damaged one before what was looked through is forgotten."""

RECORD_ALIGNMENT = 8

_SIZE = struct.Struct("<I")
_SIZE_OFFSET = 4
_KIND_OFFSET = 28


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment as far as it is on disk, and what its records are told by."""

    number: int
    end: int
    seed: int
    epoch: int

    @classmethod
    def of(cls, segment: Segment) -> "Stretch":
        """Return what there is of a segment now."""
        return cls(segment.number, segment.written_size, segment.seed, segment.epoch)


@dataclass(frozen=True, slots=True)
class PastRecord:
    """A whole record, and where it stands. ``payload`` is None in place of a stretch that cannot be read."""

    offset: int
    next_offset: int
    kind: int
    payload: memoryview | None


class PastReader:
    """Reads the records of a stretch of the log, from ``offset`` on. At most a record and some chunks are in memory."""

    def __init__(self, filesystem: Filesystem, directory: Path, stretch: Stretch, offset: int = 0) -> None:
        self._filesystem = filesystem
        self._path = segment_path(directory, stretch.number)
        self._end = stretch.end
        self._key = stretch.seed, stretch.epoch
        self._data = b""
        self._start = max(offset, HEADER_SIZE)  # where in the file ``_data`` begins
        self._at = 0

    @property
    def offset(self) -> int:
        """Where the next record should be."""
        return self._start + self._at

    def records(self, size_max: int) -> Iterator[PastRecord]:
        """Hand out records until about ``size_max`` bytes have been looked at. Raises OSError."""
        stop = min(self._end, self.offset + size_max)
        while self.offset < stop and self._provide(RECORD_HEADER_SIZE):
            claimed = size_claimed(self._data, self._at, *self._key)
            self._provide(claimed)
            # The checksums of all that is whole are looked at in one go, without the interpreter's lock.
            end, _, _ = walk(self._data, self._at, *self._key, 0)
            if end == self._at:
                offset = self.offset
                self._at = self._at + claimed if claimed else self._next_whole()
                yield PastRecord(offset, self.offset, 0, None)
            view = memoryview(self._data)
            while self._at < end and self.offset < stop:
                begin = self._at + RECORD_HEADER_SIZE
                payload_size = _SIZE.unpack_from(self._data, self._at + _SIZE_OFFSET)[0]
                kind, offset = self._data[self._at + _KIND_OFFSET], self.offset
                self._at += size_of(payload_size)
                yield PastRecord(offset, self.offset, kind, view[begin : begin + payload_size])

    def _provide(self, size: int) -> bool:
        """Have ``size`` bytes in memory behind the place that was reached. Returns whether there are so many."""
        if len(self._data) - self._at >= size:
            return True
        self._data, self._start, self._at = self._data[self._at :], self.offset, 0
        while len(self._data) < size and self._more(size - len(self._data)):
            pass
        return len(self._data) >= size

    def _more(self, size: int) -> bool:
        offset = self._start + len(self._data)
        wanted = min(max(CHUNK_SIZE, size), self._end - offset)
        piece = self._filesystem.read_from_disk(self._path, offset, wanted) if wanted > 0 else b""
        self._data += piece
        return bool(piece)

    def _next_whole(self) -> int:
        """Return where the next whole record begins behind a place where there is none."""
        while True:
            found, _ = search(self._data, self._at + RECORD_ALIGNMENT, *self._key, 0)
            if found >= 0:
                return found
            if len(self._data) - self._at >= SEARCH_SIZE_MAX or not self._more(CHUNK_SIZE):
                return max(len(self._data) & -RECORD_ALIGNMENT, self._at + RECORD_ALIGNMENT)
