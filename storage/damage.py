"""What was found damaged: how it is reported, and the copies that are kept of it."""

import errno
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from storage.cases import Case
from storage.checksum import crc32c
from storage.filesystem import Filesystem, put_file

QUARANTINE_NAME = "quarantine"
OFFSET_DIGITS = 10
UNREADABLE_SIZE = 4096
"""What the disk refuses to read is given up in pieces of this size."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a segment that is damaged.

    ``size`` is in bytes; 0 where records are missing that have no place. ``sequence`` is that of the first record that
    is lost and ``count`` how many are, each 0 if nobody knows or none is; a damaged header costs no record. ``kind`` is
    that of the record if its header can be believed.
    """

    case: Case
    path: Path
    segment: int
    offset: int
    size: int
    sequence: int = 0
    count: int = 0
    kind: int | None = None

    @property
    def detail(self) -> str:
        """Say in words what was found."""
        return self.case.found

    def __str__(self) -> str:
        if self.count > 1:
            lost = f", records {self.sequence} to {self.sequence + self.count - 1} lost"
        elif self.count == 1:
            lost = f", record {self.sequence} lost"
        else:
            lost = ""
        return f"{self.case.name} {self.path.name} at offset {self.offset}, {self.size} bytes: {self.detail}{lost}"


def quarantine_directory(directory: Path) -> Path:
    """Return where the copies of what is damaged in a journal are."""
    return directory / QUARANTINE_NAME


def read_around(filesystem: Filesystem, path: Path, size_max: int = -1) -> bytes:
    """Return the content of a file, or its beginning, with zeros where the disk does not give it back."""
    try:
        return filesystem.read(path, size_max)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    size = filesystem.size(path)
    return _read_pieces(filesystem, path, 0, size if size_max < 0 else min(size, size_max))[0]


def read_part_around(
    filesystem: Filesystem, path: Path, offset: int, size: int, refused_max: int = sys.maxsize
) -> tuple[bytes, int]:
    """Return a part of a file, with zeros where the disk does not give it back, and how many pieces those are.

    After ``refused_max`` pieces nothing more is tried. Raises OSError.
    """
    try:
        return filesystem.read_part(path, offset, size), 0
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    return _read_pieces(filesystem, path, offset, min(size, filesystem.size(path) - offset), refused_max)


def _read_pieces(
    filesystem: Filesystem, path: Path, offset: int, size: int, refused_max: int = sys.maxsize
) -> tuple[bytes, int]:
    parts = []
    refused_count = 0
    end = offset + size
    while offset < end:
        # Those of the disk, wherever the part begins.
        wanted = min(UNREADABLE_SIZE - offset % UNREADABLE_SIZE, end - offset)
        try:
            parts.append(filesystem.read_from_disk(path, offset, wanted))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            refused_count += 1
            if refused_count == refused_max:
                wanted = end - offset
            parts.append(bytes(wanted))
        offset += wanted
    return b"".join(parts), refused_count


def keep_copies(filesystem: Filesystem, directory: Path, damages: Iterable[Damage]) -> None:
    """Copy the octets of damaged stretches into the quarantine, durably, unless they are there already.

    A name tells segment and offset, and the checksum of the octets: damage that grows gets another copy. Raises
    OSError.
    """
    aside = quarantine_directory(directory)
    damages = [damage for damage in damages if damage.size]
    if not damages:
        return
    filesystem.make_directory(aside)
    there = set(filesystem.list(aside))
    if there:
        # A start before this one may have got as far as to give a copy its name.
        filesystem.sync_directory(aside)
    count_before = len(there)
    for damage in damages:
        data, _ = read_part_around(filesystem, damage.path, damage.offset, damage.size)
        name = f"{damage.path.name}-{damage.offset:0{OFFSET_DIGITS}}-{crc32c(data):08x}"
        if name not in there:
            put_file(filesystem, aside / name, (data,))
            there.add(name)
    if len(there) > count_before:
        filesystem.sync_directory(aside)
