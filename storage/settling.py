"""How the end of a log is brought on disk before it is written again: cut, whole, and not to be taken for another."""

from dataclasses import replace
from pathlib import Path

from storage.damage import read_around
from storage.filesystem import Filesystem, write_file
from storage.index import Index
from storage.postponed import is_full_disk
from storage.record import HEADER_SIZE as RECORD_HEADER_SIZE
from storage.record import SEALED, STOPPED, encode, peek
from storage.segment import Segment


def settle(
    filesystem: Filesystem,
    path: Path,
    size: int,
    rewrite_from: int,
    *,
    is_unharmed: bool,
    header: bytes = b"",
    stopped: Segment | None = None,
) -> None:
    """Cut a segment to ``size``, and write what is behind ``rewrite_from`` once more. Raises OSError.

    After a failed sync the page cache may hold, as clean, what the disk never got; so what nothing proves to be on
    disk is written again. ``is_unharmed`` says that all of the file could be read a moment ago. ``header`` takes the
    place of one that is damaged. ``stopped`` is the segment if it ends with the mark of a clean stop: the next run may
    end before it has written anything, and must not be taken for one that was stopped.
    """
    # Zeros for what cannot be read would take the place of what the owner counts on.
    data = filesystem.read(path, size) if is_unharmed else read_around(filesystem, path, size)
    if stopped is not None:
        data = _without_stop(data, stopped)
    descriptor = filesystem.open(path)
    try:
        if header:
            # What is cut may hold the only records that told what the header did.
            filesystem.write(descriptor, header, 0)
            filesystem.sync(descriptor)
        filesystem.write(descriptor, data[rewrite_from:], rewrite_from)
        filesystem.truncate(descriptor, size)
        filesystem.sync(descriptor)
    finally:
        filesystem.close(descriptor)


def _without_stop(data: bytes, segment: Segment) -> bytes:
    offset = len(data) - RECORD_HEADER_SIZE
    header = peek(data, offset, segment.seed, segment.epoch)
    if header is None or header[0] != STOPPED:
        return data
    return data[:offset] + encode(segment.seed, header[1], header[2], segment.epoch, SEALED, False, b"")


def settle_index(filesystem: Filesystem, path: Path, index: Index) -> None:
    """Have the index of a segment say that the log goes on in the next one. Raises OSError."""
    try:
        write_file(filesystem, path, replace(index, mark=SEALED).encode())
    except OSError as error:
        if not is_full_disk(error):
            raise
        # The next start reads the segment instead.
        filesystem.remove(path)
        filesystem.sync_directory(path.parent)


def make_spare(filesystem: Filesystem, path: Path, spare: Path) -> bool:
    """Keep a file to be overwritten. Returns whether there was room for its name; if not, it is removed.

    Raises OSError.
    """
    try:
        filesystem.rename(path, spare)
    except OSError as error:
        # A new name may take a block of the directory.
        if not is_full_disk(error):
            raise
        filesystem.remove(path)
        return False
    return True
