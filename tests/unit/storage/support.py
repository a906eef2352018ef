"""What the tests of the storage share: a journal with an owner, and segments made by hand."""

import select
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storage.disk import Disk
from storage.errors import JournalFailed
from storage.filesystem import Filesystem
from storage.journal import Journal
from storage.layout import HEADER_SIZE, SegmentHeader, segment_path
from storage.machine import Machine
from storage.options import JournalOptions
from storage.record import encode
from storage.recovery import Recovery
from storage.replayer import Replayer
from tests.unit.storage.simulated_disk import SimulatedDisk

SMALL = JournalOptions(segment_size=4096, first_segment_size=4096)
PATIENCE_S = 20
LOOK_AGAIN_MS = 50
DIRECTORY = Path("/journal")

Record = tuple[int, int, bytes]  # kind, sequence, payload


@dataclass
class Owner:
    """Opens a journal and remembers what it was told."""

    directory: Path = DIRECTORY
    filesystem: Filesystem | None = None
    disk: Disk | None = None
    machine: Machine | None = None
    options: JournalOptions = SMALL
    replayer: Replayer | None = None
    snapshot: Callable[[], Generator[None, None, Sequence[bytes]]] | None = None
    durable: list[int] = field(default_factory=list)
    failures: list[JournalFailed] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    recovery: Recovery = field(init=False)
    journal: Journal = field(init=False)

    def open(self) -> Journal:
        self.recovery = Recovery(self.directory, self.filesystem)
        self.records = [(kind, sequence, payload) for kind, sequence, payload, _ in self.recovery.records()]
        self.journal = Journal(
            self.recovery,
            durable=self.durable.append,
            failed=self.failures.append,
            snapshot=self.snapshot,
            replayer=self.replayer,
            options=self.options,
            disk=self.disk,
            machine=self.machine,
        )
        return self.journal

    def wait(self, condition: Callable[[], bool]) -> None:
        """Run the journal's part of an event loop until ``condition`` holds."""
        poll = select.poll()
        poll.register(self.journal.completion_fd, select.POLLIN)
        self.journal.commit()
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            # A segment that was prepared announces itself to nobody, so not every condition comes with an event.
            if poll.poll(LOOK_AGAIN_MS):
                deadline = time.monotonic() + PATIENCE_S
            assert time.monotonic() < deadline, "nothing happens any more"
            self.journal.on_commit_finished()
            self.journal.commit()

    def commit(self) -> None:
        """Commit what was appended, and return when it is on disk or will never be."""
        target = self.journal.sequence
        self.wait(lambda: self.journal.failed or self.journal.durable_sequence >= target)


def in_one_slice(state: Callable[[], bytes]) -> Callable[[], Generator[None, None, Sequence[bytes]]]:
    """Make of a function that encodes the owner's state a snapshot that is one slice."""

    def snapshot() -> Generator[None, None, Sequence[bytes]]:
        return [state()]
        yield

    return snapshot


def recover(files: dict[str, bytes]) -> tuple[list[Record], Recovery]:
    """Return what a recovery finds in these files."""
    recovery = Recovery(DIRECTORY, SimulatedDisk(files))
    return [(kind, sequence, payload) for kind, sequence, payload, _ in recovery.records()], recovery


def names_of(recovery: Recovery) -> list[str]:
    return [repair.case.name for repair in recovery.repairs]


@dataclass
class SegmentMaker:
    """A segment whose bytes are made one by one. ``offsets`` are those of its records, and its end."""

    number: int = 1
    file_id: int = 0x1122334455667788
    epoch: int = 1
    durable: int = 0
    sequence: int = 0

    def __post_init__(self) -> None:
        self.header = SegmentHeader(self.file_id, self.number, self.durable, self.epoch, 0)
        self.data = bytearray(self.header.encode())
        self.offsets = [HEADER_SIZE]
        self.sequences: list[int] = []

    @property
    def name(self) -> str:
        return segment_path(DIRECTORY, self.number).name

    def add(self, kind: int, payload: bytes, unit_ends: bool = True) -> None:
        self.sequence += 1
        self.data += encode(self.header.seed, self.sequence, self.durable, self.epoch, kind, unit_ends, payload)
        self.offsets.append(len(self.data))
        self.sequences.append(self.sequence)

    def batch(self, units: Iterable[Sequence[bytes]]) -> "SegmentMaker":
        """Add units of records of kind 1, none of which was on disk when they were written."""
        for unit in units:
            for payload in unit:
                self.add(1, payload, unit_ends=payload is unit[-1])
        self.durable = self.sequence
        return self

    def mark(self, kind: int, payload: bytes = b"") -> "SegmentMaker":
        self.add(kind, payload, unit_ends=False)
        self.durable = self.sequence
        return self

    def bytes(self, zeros: int = 256) -> bytes:
        return bytes(self.data) + bytes(zeros)
