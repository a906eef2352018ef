"""A disk in memory that can lose its power.

What was written is on it for sure only after a sync of the file, and a name only after a sync of the directory. A
crash keeps any part of the rest: each sector of an unsynced write, and each step of the changes to names, in order.
"""

import errno
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

from storage.disk import PythonDisk

SECTOR_SIZE = 512
Names = dict[str, "Inode"]


@dataclass(eq=False)
class Inode:
    """A file: what is seen of it, what is on disk for sure, and the changes that lie between the two."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)

    def after_crash(self, chance: random.Random) -> bytearray:
        """Return what the disk holds after power was lost."""
        content = bytearray(self.durable)
        for offset, data in self.unsynced:
            if data is None:
                if chance.random() < 0.5:
                    resize(content, offset)
                continue
            for start in range(offset - offset % SECTOR_SIZE, offset + len(data), SECTOR_SIZE):
                if chance.random() < 0.5:
                    begin, end = max(start, offset), min(start + SECTOR_SIZE, offset + len(data))
                    put(content, begin, data[begin - offset : end - offset])
        return content


def resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def put(content: bytearray, offset: int, data: bytes) -> None:
    resize(content, max(len(content), offset))
    content[offset : offset + len(data)] = data


def key_of(path: Path) -> str:
    """Return the name of a file; in a directory within the journal's, with that."""
    return path.name if path.parent.name in ("journal", "") else f"{path.parent.name}/{path.name}"


class SimulatedDisk:
    """A ``Filesystem`` with one directory, and others in it.

    ``crash_at``: from the operation of that number on, nothing works.
    """

    def __init__(self, files: dict[str, bytes] | None = None, crash_at: int | None = None) -> None:
        self.operation_count = 0
        self.crash_at = crash_at
        self.lock = threading.RLock()
        self.names: Names = {name: Inode(bytearray(data), bytearray(data)) for name, data in (files or {}).items()}
        self.durable_names: Names = dict(self.names)
        self.unsynced_names: list[Names] = []
        self.descriptors: dict[int, Inode] = {}
        self.next_descriptor = 1000

    @property
    def files(self) -> dict[str, bytes]:
        """What a process sees, or another one after this one was killed."""
        return {name: bytes(inode.seen) for name, inode in self.names.items()}

    def after_power_loss(self, chance: random.Random) -> dict[str, bytes]:
        """Return the files of one of the disks that a loss of power can leave."""
        names = chance.choice([self.durable_names, *self.unsynced_names])
        return {name: bytes(inode.after_crash(chance)) for name, inode in names.items()}

    def step(self) -> None:
        self.operation_count += 1
        if self.crash_at is not None and self.operation_count >= self.crash_at:
            raise OSError(errno.EIO, "the power is off")

    def inode(self, path: Path) -> Inode:
        if key_of(path) not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self.names[key_of(path)]

    def rename_in(self, names: Names) -> None:
        self.names = names
        self.unsynced_names.append(names)

    def make_directory(self, directory: Path) -> None:
        pass

    def list(self, directory: Path) -> list[str]:
        prefix = key_of(directory / "x")[:-1]
        return sorted(rest for name in self.names if "/" not in (rest := name.removeprefix(prefix)))

    def size(self, path: Path) -> int:
        return len(self.inode(path).seen)

    def read(self, path: Path, size_max: int = -1) -> bytes:
        content = bytes(self.inode(path).seen)
        return content if size_max < 0 else content[:size_max]

    def read_from_disk(self, path: Path, offset: int, size: int) -> bytes:
        return bytes(self.inode(path).seen[offset : offset + size])

    def read_part(self, path: Path, offset: int, size: int) -> bytes:
        return self.read_from_disk(path, offset, size)

    def open(self, path: Path, create: bool = False) -> int:
        with self.lock:
            self.step()
            if create:
                self.rename_in({**self.names, key_of(path): Inode()})
            self.next_descriptor += 1
            self.descriptors[self.next_descriptor] = self.inode(path)
            return self.next_descriptor

    def close(self, descriptor: int) -> None:
        del self.descriptors[descriptor]

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        with self.lock:
            inode = self.descriptors[descriptor]
            inode.unsynced.append((offset, bytes(data)))
            self.step()  # a write that fails may have written any part
            put(inode.seen, offset, data)

    def allocate(self, descriptor: int, size: int) -> None:
        self.truncate(descriptor, size)

    def truncate(self, descriptor: int, size: int) -> None:
        with self.lock:
            self.step()
            inode = self.descriptors[descriptor]
            inode.unsynced.append((size, None))
            resize(inode.seen, size)

    def sync(self, descriptor: int) -> None:
        with self.lock:
            self.step()
            inode = self.descriptors[descriptor]
            inode.durable = bytearray(inode.seen)
            inode.unsynced.clear()

    def rename(self, source: Path, target: Path) -> None:
        with self.lock:
            self.step()
            names = {**self.names, key_of(target): self.inode(source)}
            del names[key_of(source)]
            self.rename_in(names)

    def remove(self, path: Path) -> None:
        with self.lock:
            self.step()
            self.inode(path)
            self.rename_in({name: inode for name, inode in self.names.items() if name != key_of(path)})

    def sync_directory(self, directory: Path) -> None:
        with self.lock:
            self.step()
            self.durable_names = self.names
            self.unsynced_names.clear()


class CommitDisk(PythonDisk):
    """The commit thread's side of a simulated disk."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk

    def on_write(self, descriptor: int, data: bytes, offset: int) -> None:
        self.disk.write(descriptor, data, offset)

    def on_sync(self, descriptor: int) -> None:
        self.disk.sync(descriptor)
