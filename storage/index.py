"""The index of a sealed segment: what a start needs of its records, so that it does not have to read them.

It is written when the segment is sealed and on disk, and can always be made again from it: one that is missing or
damaged, or of another file, costs time and nothing else.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from storage.checksum import crc32c
from storage.damage import read_around
from storage.filesystem import Filesystem, write_file
from storage.index_stream import summarize_segment
from storage.layout import FORMAT_VERSION, HEADER_SIZE, SegmentHeader, check_header, index_path, segment_path
from storage.replayer import Replayer

INDEX_MAGIC = b"HAYINDEX"

_HEADER = struct.Struct("<8sIIQQQQII4x")
_CHECKSUM = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Index:
    """What an index says about a segment.

    ``end`` is where its last record ends, ``mark`` the kind of the mark there (0: none), ``batch_offset`` the place
    behind which nothing in the segment proves that its records were on disk. ``stream`` is described in
    docs/journal-format.md.
    """

    file_id: int
    first_sequence: int
    end: int
    batch_offset: int
    mark: int
    stream: bytes

    def encode(self) -> bytes:
        """Return the file's bytes."""
        fields = _HEADER.pack(
            INDEX_MAGIC, FORMAT_VERSION, HEADER_SIZE, self.file_id, self.first_sequence, self.end, self.batch_offset,
            self.mark, crc32c(self.stream),
        )  # fmt: skip
        return fields + _CHECKSUM.pack(crc32c(fields)) + self.stream

    @classmethod
    def decode(cls, data: bytes) -> "Index":
        """Read an index whose every byte is as it was written. Raises HeaderError, and ValueError."""
        check_header(data, INDEX_MAGIC)
        _, _, _, file_id, first_sequence, end, batch_offset, mark, checksum = _HEADER.unpack_from(data)
        stream = data[HEADER_SIZE:]
        if crc32c(stream) != checksum:
            raise ValueError("the checksum of the entries is wrong")
        return cls(file_id, first_sequence, end, batch_offset, mark, stream)


def write_index(filesystem: Filesystem, directory: Path, number: int, end: int, replayer: Replayer) -> bool:
    """Write the index of the segment of that number, whose records end at ``end``.

    Returns False if its records cannot be read up to there. Raises OSError and HeaderError.
    """
    data = read_around(filesystem, segment_path(directory, number), end)
    header = SegmentHeader.decode(data)
    stream, first, last, _, read_end, mark, batch_offset = summarize_segment(
        data, HEADER_SIZE, header.seed, header.epoch, replayer
    )
    if read_end != end or last == 0:
        return False
    index = Index(header.file_id, first, end, batch_offset, mark, stream)
    write_file(filesystem, index_path(directory, number), index.encode())
    return True
