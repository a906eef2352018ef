"""A disk in memory that loses its power, fails, fills up, lies and rots, as its source of chance says.

What was written is on it for sure only after a sync of the file, and a name only after a sync of the directory. A
loss of power keeps any part of the rest: whole writes, some of their sectors, or their bytes up to any one, later
writes without earlier ones, and names likewise.
"""

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from storage.damage import QUARANTINE_NAME
from storage.disk import PythonDisk

SECTOR_SIZE = 512
FIRST_DESCRIPTOR = 1000
RESIZED = None
BLOCK_SIZE = 4096
Write = tuple[int, bytes | None]


def resize(content: bytearray, size: int) -> None:
    """Cut the content, or add zeros."""
    del content[size:]
    content.extend(bytes(size - len(content)))


def put(content: bytearray, write: Write) -> None:
    """Let a write, or a change of the size, take effect."""
    offset, data = write
    if data is RESIZED:
        resize(content, offset)
    else:
        resize(content, max(len(content), offset))
        content[offset : offset + len(data)] = data


def pieces(write: Write, chance: random.Random) -> list[Write]:
    """Return some part of a write that a loss of power may leave."""
    offset, data = write
    fate = chance.random()
    if fate < 0.25:
        return []
    if fate < 0.5 or data is RESIZED:
        return [write]
    if fate < 0.75:
        end = chance.randint(0, len(data))
        return [(offset, data[:end])] if chance.random() < 0.8 else [(offset + end, data[end:])]
    first = offset - offset % SECTOR_SIZE
    return [
        (max(start, offset), data[max(start - offset, 0) : start - offset + SECTOR_SIZE])
        for start in range(first, offset + len(data), SECTOR_SIZE)
        if chance.random() < 0.5
    ]


class Interrupted(OSError):  # noqa: N818 - one among many errors
    """An operation has begun, and did not succeed."""


@dataclass(eq=False)
class Inode:
    """A file: what is seen of it, what is on disk for sure, and the writes that lie between the two.

    The blocks of those numbers in ``unreadable`` cannot be read.
    """

    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[Write] = field(default_factory=list)
    unreadable: set[int] = field(default_factory=set)

    def write(self, write: Write) -> None:
        put(self.seen, write)
        self.unsynced.append(write)
        offset, data = write
        size = 0 if data is RESIZED else len(data)
        self.unreadable -= {block for block in self.unreadable if offset <= block * BLOCK_SIZE < offset + size}

    def read(self, offset: int, size: int) -> bytes:
        """Return what there is, or raise OSError if any of it cannot be read."""
        end = min(offset + size, len(self.seen))
        if any(block * BLOCK_SIZE < end and offset < (block + 1) * BLOCK_SIZE for block in self.unreadable):
            raise OSError(errno.EIO, "a block cannot be read")
        return bytes(self.seen[offset:end])

    def sync(self) -> None:
        for write in self.unsynced:
            put(self.durable, write)
        self.unsynced.clear()

    def lose(self, chance: random.Random) -> None:
        """Bring some part of what is not synced to disk, and take all of it for clean."""
        for write in self.unsynced:
            for piece in pieces(write, chance):
                put(self.durable, piece)
        self.unsynced.clear()


@dataclass
class Faults:
    """What goes wrong, by the number of the operation.

    ``errors`` are the operations that fail, and with which errno. ``power_off_at`` is the first one that is not done
    any more; of a write there are its first ``torn_at`` bytes then, where that is given. ``lies`` is the number of
    syncs, -1 for all of them, that do nothing and say nothing.
    """

    errors: dict[int, int] = field(default_factory=dict)
    power_off_at: int | None = None
    torn_at: int | None = None
    lies: int = 0


class SimulatedDisk:
    """A ``Filesystem``. ``meanwhile`` is called before each operation.

    ``refused`` are the places (name, offset, size) that it once did not give back to who read piece by piece.
    ``scarcity`` is how likely who reads records back lacks a descriptor, or memory, which ``lack_count`` counts.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.faults = Faults()
        self.meanwhile: Callable[[str], None] = lambda _: None
        self.is_off = False
        self.operation_count = 0
        self.write_sizes: dict[int, int] = {}
        self.error_count = 0
        self.lie_count = 0
        self.names: dict[str, Inode] = {}
        self.durable_names: dict[str, Inode] = {}
        self.unsynced_names: list[dict[str, Inode | None]] = []
        self.descriptors: dict[int, Inode] = {}
        self.next_descriptor = FIRST_DESCRIPTOR
        self.directories = {"/"}
        self.durable_directories = {"/"}
        self.refused: list[tuple[str, int, int]] = []
        self.scarcity = 0.0
        self.scarcity_chance = random.Random(0)
        self.lack_count = 0

    # What happens to it

    def switch_off(self) -> None:
        """Do nothing more until the machine starts again."""
        self.is_off = True

    def restart(self, power_lost: bool) -> None:
        """Start again, with what the disk holds or, where only the process ended, with the page cache too."""
        self.descriptors.clear()
        self.is_off = False
        if not power_lost:
            return
        in_order = self.chance.random() < 0.5
        kept = self.chance.randint(0, len(self.unsynced_names))
        for index, change in enumerate(self.unsynced_names):
            if index < kept if in_order else self.chance.random() < 0.5:
                self.durable_names = renamed(self.durable_names, change)
        self.unsynced_names.clear()
        self.directories &= self.durable_directories
        self.durable_names = {
            name: inode for name, inode in self.durable_names.items() if folder_of(name) in self.directories
        }
        self.names = dict(self.durable_names)
        for inode in self.names.values():
            inode.lose(self.chance)
            inode.seen = bytearray(inode.durable)

    def used_files(self) -> list[str]:
        """Return the names of files, beside those in the quarantine, in which there is anything."""
        return sorted(
            name for name, inode in self.names.items() if inode.seen and Path(name).parent.name != QUARANTINE_NAME
        )

    def damage(self, unreadable: bool = False) -> tuple[str, int]:
        """Damage one bit, or a block, of what is on disk. Returns where."""
        name = self.chance.choice(self.used_files())
        used_size = max(len(self.names[name].seen.rstrip(b"\0")), 1)
        offset = self.chance.randrange(used_size)
        if unreadable:
            offset -= offset % BLOCK_SIZE
            self.names[name].unreadable.add(offset // BLOCK_SIZE)
        else:
            self.flip_bit(name, offset, self.chance.randrange(8))
        return name, offset

    def flip_bit(self, name: str, offset: int, bit: int) -> None:
        """Damage one bit."""
        inode = self.names[name]
        inode.seen[offset] ^= 1 << bit
        if offset < len(inode.durable):
            inode.durable[offset] = inode.seen[offset]

    def lose(self, name: str) -> None:
        """Forget a file, as if somebody had removed it."""
        del self.names[name]
        self.durable_names.pop(name, None)

    def lack(self, error: int) -> None:
        """Raise OSError where there is too little of something that comes back."""
        if self.scarcity and self.scarcity_chance.random() < self.scarcity:
            self.lack_count += 1
            raise OSError(error, "for the time being")

    def _step(self, operation: str, takes_room: bool = True) -> None:
        """Count an operation, or raise OSError where it fails; for want of room only if it needs any."""
        self.meanwhile(operation)
        self.operation_count += 1
        if self.is_off:
            raise OSError(errno.ENXIO, "the power is off")
        if self.operation_count == self.faults.power_off_at:
            self.is_off = True
            raise Interrupted(errno.ENXIO, "the power goes off")
        error = self.faults.errors.pop(self.operation_count, 0)
        if error and (takes_room or error != errno.ENOSPC):
            self.error_count += 1
            raise Interrupted(error, "the disk fails")

    # The file system

    def make_directory(self, directory: Path) -> None:
        if str(directory) not in self.directories:
            self._step(f"make directory {directory.name}")
            self.directories.add(str(directory))
        self.sync_directory(directory.parent)

    def list(self, directory: Path) -> list[str]:
        names = {name for name in (*self.names, *self.directories) if folder_of(name) == str(directory) != name}
        return sorted(Path(name).name for name in names)

    def size(self, path: Path) -> int:
        return len(self._inode(path).seen)

    def read(self, path: Path, size_max: int = -1) -> bytes:
        self._step(f"read {path.name}", takes_room=False)
        inode = self._inode(path)
        return inode.read(0, len(inode.seen) if size_max < 0 else size_max)

    def read_from_disk(self, path: Path, offset: int, size: int) -> bytes:
        try:
            self._step(f"read {size} of {path.name} at {offset}", takes_room=False)
        except Interrupted:
            # Who reads in such small pieces takes the piece for damaged.
            self.refused.append((path.name, offset, size))
            raise
        return self._inode(path).read(offset, size)

    def read_part(self, path: Path, offset: int, size: int) -> bytes:
        return self.read_from_disk(path, offset, size)

    def open_for_reading(self, path: Path) -> int:
        self._step(f"open {path.name} to read", takes_room=False)
        self.next_descriptor += 1
        self.descriptors[self.next_descriptor] = self._inode(path)
        return self.next_descriptor

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        self._step(f"read {size} at {offset}", takes_room=False)
        return self.descriptors[descriptor].read(offset, size)

    def open(self, path: Path, create: bool = False) -> int:
        self._step(f"open {path.name}")
        if create:
            self._rename({str(path): Inode()})
        self.next_descriptor += 1
        self.descriptors[self.next_descriptor] = self._inode(path)
        return self.next_descriptor

    def close(self, descriptor: int) -> None:
        self.descriptors.pop(descriptor, None)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        inode = self.descriptors[descriptor]
        try:
            self._step(f"write {len(data)} at {offset}")
        except Interrupted:
            if self.faults.torn_at is not None:
                inode.write((offset, bytes(data[: self.faults.torn_at])))
                inode.sync()
                raise
            # A write that fails, or during which the power went, may have written any part.
            inode.write((offset, bytes(data[: self.chance.randint(0, len(data))])))
            raise
        inode.write((offset, bytes(data)))
        self.write_sizes[self.operation_count] = len(data)

    def allocate(self, descriptor: int, size: int) -> None:
        self._step(f"allocate {size}")
        inode = self.descriptors[descriptor]
        inode.write((max(size, len(inode.seen)), RESIZED))

    def truncate(self, descriptor: int, size: int) -> None:
        self._step(f"truncate {size}")
        self.descriptors[descriptor].write((size, RESIZED))

    def sync(self, descriptor: int) -> None:
        inode = self.descriptors[descriptor]
        try:
            self._step("sync")
        except Interrupted:
            if not self.is_off:
                # The kernel gives up on the pages and takes them for clean: the next sync succeeds without them.
                inode.lose(self.chance)
            raise
        if self._lies():
            return
        inode.sync()

    def rename(self, source: Path, target: Path) -> None:
        self._step(f"rename {source.name} to {target.name}")
        self._rename({str(target): self._inode(source), str(source): None})

    def remove(self, path: Path) -> None:
        self._step(f"remove {path.name}")
        self._inode(path)
        self._rename({str(path): None})

    def sync_directory(self, directory: Path) -> None:
        self._step("sync directory")
        if self._lies():
            return
        within = str(directory)
        rest = []
        for change in self.unsynced_names:
            if folder_of(next(iter(change))) == within:
                self.durable_names = renamed(self.durable_names, change)
            else:
                rest.append(change)
        self.unsynced_names = rest
        self.durable_directories |= {name for name in self.directories if folder_of(name) == within}

    def _lies(self) -> bool:
        if self.faults.lies == 0:
            return False
        self.faults.lies -= 1
        self.lie_count += 1
        return True

    def _inode(self, path: Path) -> Inode:
        if str(path) not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self.names[str(path)]

    def _rename(self, change: dict[str, Inode | None]) -> None:
        self.names = renamed(self.names, change)
        self.unsynced_names.append(change)


def renamed(names: dict[str, Inode], change: dict[str, Inode | None]) -> dict[str, Inode]:
    """Return the names after a change."""
    return {name: inode for name, inode in (names | change).items() if inode is not None}


def folder_of(name: str) -> str:
    """Return the name of the directory that a name is in."""
    return name.rpartition("/")[0] or "/"


class CommitDisk(PythonDisk):
    """The side of a simulated disk that the committer and the fetcher see."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk

    def on_write(self, descriptor: int, data: bytes, offset: int) -> None:
        self.disk.write(descriptor, data, offset)

    def on_sync(self, descriptor: int) -> None:
        self.disk.sync(descriptor)

    def on_open(self, path: str) -> int:
        self.disk.lack(errno.EMFILE)
        return self.disk.open_for_reading(Path(path))

    def on_read(self, descriptor: int, size: int, offset: int) -> bytes:
        self.disk.lack(errno.ENOMEM)
        return self.disk.read_at(descriptor, size, offset)

    def on_close(self, descriptor: int) -> None:
        self.disk.close(descriptor)
