"""The file system as the journal uses it outside of its commit thread, small enough to simulate."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from storage.layout import TEMPORARY_SUFFIX


class Filesystem(Protocol):
    """Everything the journal does with files, except that the commit thread writes and syncs through ``Disk``.

    All methods raise OSError. Descriptors are those that ``Disk`` takes.
    """

    def make_directory(self, directory: Path) -> None:
        """Create a directory and its parents if they are missing, and have it on disk."""

    def list(self, directory: Path) -> list[str]:
        """Return the names in a directory, in order; none if there is no such directory."""

    def size(self, path: Path) -> int:
        """Return the size of a file."""

    def read(self, path: Path, size_max: int = -1) -> bytes:
        """Return the content of a file, or its beginning."""

    def read_part(self, path: Path, offset: int, size: int) -> bytes:
        """Return a part of a file."""

    def read_from_disk(self, path: Path, offset: int, size: int) -> bytes:
        """Return a part of a file as the disk has it, and leave nothing of it in the page cache."""

    def open(self, path: Path, create: bool = False) -> int:
        """Open a file for writing and return its descriptor; ``create`` makes an empty one."""

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of ``data``."""

    def allocate(self, descriptor: int, size: int) -> None:
        """Make a file ``size`` bytes long and reserve the room for it."""

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file."""

    def sync(self, descriptor: int) -> None:
        """Wait until a file's content and size are on disk."""

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, replacing what had it."""

    def remove(self, path: Path) -> None:
        """Remove a file."""

    def sync_directory(self, directory: Path) -> None:
        """Wait until what was created, renamed and removed in a directory is on disk."""


class LocalFilesystem:
    """The file system of the machine."""

    def make_directory(self, directory: Path) -> None:
        """Create a directory and its parents if they are missing, and have it on disk."""
        if not directory.is_dir():
            self.make_directory(directory.parent)
            directory.mkdir(mode=0o700, exist_ok=True)
        # Also if it is there: whoever made it may not have got any further.
        self.sync_directory(directory.parent)

    def list(self, directory: Path) -> list[str]:
        """Return the names in a directory, in order; none if there is no such directory."""
        try:
            return sorted(os.listdir(directory))  # noqa: PTH208
        except FileNotFoundError:
            return []

    def size(self, path: Path) -> int:
        """Return the size of a file."""
        return path.stat().st_size

    def read(self, path: Path, size_max: int = -1) -> bytes:
        """Return the content of a file, or its beginning."""
        with path.open("rb", buffering=0) as file:
            return file.read(size_max)

    def read_part(self, path: Path, offset: int, size: int) -> bytes:
        """Return a part of a file."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def read_from_disk(self, path: Path, offset: int, size: int) -> bytes:
        """Return a part of a file as the disk has it, and leave nothing of it in the page cache."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_DONTNEED)
            data = os.pread(descriptor, size, offset)
            os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        return data

    def open(self, path: Path, create: bool = False) -> int:
        """Open a file for writing and return its descriptor; ``create`` makes an empty one."""
        flags = os.O_RDWR | os.O_CLOEXEC
        if create:
            flags |= os.O_CREAT | os.O_TRUNC
        return os.open(path, flags, 0o600)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of ``data``."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            rest = rest[written:]
            offset += written

    def allocate(self, descriptor: int, size: int) -> None:
        """Make a file ``size`` bytes long and reserve the room for it."""
        os.posix_fallocate(descriptor, 0, size)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Wait until a file's content and size are on disk."""
        os.fsync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, replacing what had it."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def sync_directory(self, directory: Path) -> None:
        """Wait until what was created, renamed and removed in a directory is on disk."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_file(filesystem: Filesystem, path: Path, data: bytes) -> None:
    """Put a file on disk, whole or not at all. Raises OSError."""
    put_file(filesystem, path, (data,))
    filesystem.sync_directory(path.parent)


def put_file(filesystem: Filesystem, path: Path, pieces: Iterable[bytes]) -> None:
    """Put a file on disk, whole or not at all; its name is only there for sure when its directory has been synced."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    offset = 0
    descriptor = filesystem.open(temporary, create=True)
    try:
        try:
            for piece in pieces:
                filesystem.write(descriptor, piece, offset)
                offset += len(piece)
            filesystem.sync(descriptor)
        finally:
            filesystem.close(descriptor)
        filesystem.rename(temporary, path)
    except OSError:
        # Half a file takes room that something better may need.
        with contextlib.suppress(OSError):
            filesystem.remove(temporary)
        raise
