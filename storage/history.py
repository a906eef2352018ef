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
from storage.record import peek, search, size_claimed, size_of, walk
from storage.segment import Segment

CHUNK_SIZE = 1 << 20

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


def read_past(
    filesystem: Filesystem, directory: Path, stretch: Stretch, offset: int = 0, size_max: int = 1 << 62
) -> Iterator[PastRecord]:
    """Hand out the records from ``offset`` on, until ``size_max`` bytes have been looked at. Raises OSError.

    At most a record and a chunk are in memory.
    """
    path = segment_path(directory, stretch.number)
    key = stretch.seed, stretch.epoch
    start = max(offset, HEADER_SIZE)
    stop = stretch.end if stretch.end - start <= size_max else start + size_max
    data, at = b"", 0
    while start + at < stop:
        needed = max(size_claimed(data, at, *key), RECORD_HEADER_SIZE)
        if len(data) - at < needed and start + len(data) < stretch.end:
            data, start, at = data[at:], start + at, 0
            while len(data) < needed and start + len(data) < stretch.end:
                wanted = min(max(CHUNK_SIZE, needed - len(data)), stretch.end - start - len(data))
                piece = filesystem.read_from_disk(path, start + len(data), wanted)
                if not piece:
                    return
                data += piece
                needed = max(size_claimed(data, 0, *key), RECORD_HEADER_SIZE)
        # The checksums of all that is whole are looked at in one go, without the interpreter's lock.
        end, _, _ = walk(data, at, *key, 0)
        if end == at:
            end = _next_whole(data, at, stretch, start)
            yield PastRecord(start + at, start + end, 0, None)
            at = end
            continue
        view = memoryview(data)
        while at < end and start + at < stop:
            payload_size = _SIZE.unpack_from(data, at + _SIZE_OFFSET)[0]
            begin, following = at + RECORD_HEADER_SIZE, at + size_of(payload_size)
            yield PastRecord(
                start + at, start + following, data[at + _KIND_OFFSET], view[begin : begin + payload_size]
            )
            at = following


def _next_whole(data: bytes, at: int, stretch: Stretch, start: int) -> int:
    """Return where to go on behind a place that is damaged, or not of this segment."""
    key = stretch.seed, stretch.epoch
    claimed = size_claimed(data, at, *key)
    if claimed and peek(data, at, *key) is not None:
        return at + claimed
    found, _ = search(data, at + 8, *key, 0)
    end = found if found >= 0 else len(data)
    return min(end + -end % 8, max(stretch.end - start, at + 8))
