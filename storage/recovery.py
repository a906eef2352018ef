"""What a journal's files say after whatever happened, and what must be done before it is written again.

Recovery reads and changes nothing. It hands out the checkpoint and the records, ends with a list of repairs, and
refuses (JournalDamaged) where something is missing that had been on disk. ``Case`` is the whole table of decisions.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from storage.checkpoint import Checkpoint, read_checkpoint
from storage.errors import FormatTooNew, JournalDamaged
from storage.filesystem import Filesystem, LocalFilesystem
from storage.layout import (
    CHECKPOINT_PREFIX,
    FORMAT_VERSION,
    HEADER_SIZE,
    SEGMENT_PREFIX,
    SPARE_PREFIX,
    TEMPORARY_SUFFIX,
    HeaderError,
    SegmentHeader,
    checkpoint_path,
    number_in,
    segment_path,
    spare_path,
)
from storage.reader import RecordReader
from storage.record import HEADER_SIZE as RECORD_HEADER_SIZE
from storage.record import STOPPED, looks_like, search
from storage.segment import Segment

RECORDS_PER_READ = 1024
FIRST_NUMBER = 1
RECLAIMED_PAYLOAD = struct.Struct("<QQ")
"""The first segment that is needed, and the sequence of the checkpoint that stands for those before it."""

ReplayedRecord = tuple[int, int, bytes, Segment]


class Action(Enum):
    """What is done about a case."""

    KEEP = auto()
    SETTLE = auto()  # write again what may not be on disk, cut what comes after, sync
    SPARE = auto()  # keep the file to be overwritten
    REMOVE = auto()
    REFUSE = auto()


class Case(Enum):
    """Every state in which something can be found, and what is done about it.

    "Proof" that a record had been on disk is a later record, segment header or checkpoint that says so.
    """

    # Of a segment's header. It was synced before the file got its name, so it is never torn.
    HEADER_SHORT = (Action.REFUSE, "the file ends within its header, or is empty")
    HEADER_MAGIC = (Action.REFUSE, "the file does not begin as a segment")
    HEADER_CHECKSUM = (Action.REFUSE, "the header does not match its checksum")
    HEADER_NUMBER = (Action.REFUSE, "the header is that of another segment")
    HEADER_NEWER = (Action.REFUSE, "a later version of the program wrote the file")

    # Of the segments together.
    FRONT_MISSING = (Action.REFUSE, "segments before the first one are missing and were not reclaimed")
    NUMBER_GAP = (Action.REFUSE, "a segment is missing between two others")
    SEQUENCE_GAP = (Action.REFUSE, "records are missing between two others")
    END_MISSING = (Action.REFUSE, "the log ends before a record that had been on disk")

    # Of the place where the whole records of a segment end.
    SEGMENT_COMPLETE = (Action.KEEP, "a mark or the end of the file follows the last record")
    RECORD_DAMAGED = (Action.REFUSE, "no whole record, and proof that there was one")
    SEGMENT_UNUSED = (Action.SPARE, "no record at all, and no proof that there was one")
    CLEAN_STOP = (Action.SETTLE, "the log ends with the mark of a clean stop")
    LOG_END = (Action.SETTLE, "the log ends with a whole batch, and zeros or the end of the file follow")
    STALE_TAIL = (Action.SETTLE, "the log ends with a whole batch, and bytes of the file's earlier life follow")
    TORN_TAIL = (Action.SETTLE, "a part of a batch whose commit had not ended follows the last whole record")
    UNIT_UNFINISHED = (Action.SETTLE, "the log ends in the middle of a unit")
    AFTER_END = (Action.SPARE, "the segment lies behind the end of the log")

    # Of checkpoints.
    CHECKPOINT_USED = (Action.KEEP, "the newest one")
    CHECKPOINT_OLD = (Action.REMOVE, "there is a newer one")
    CHECKPOINT_BAD_UNUSED = (Action.REMOVE, "it is damaged, and the log does without it")
    CHECKPOINT_BAD = (Action.REFUSE, "it is damaged, and segments were reclaimed because of it")
    CHECKPOINT_MISSING = (Action.REFUSE, "segments were reclaimed because of a checkpoint that is not there")
    CHECKPOINT_NEWER = (Action.REFUSE, "a later version of the program wrote the checkpoint")

    # Of other files.
    SPARE = (Action.KEEP, "a file to be overwritten")
    TEMPORARY = (Action.REMOVE, "a file that had not got its name yet")
    FOREIGN = (Action.KEEP, "nothing of the journal's; it is left alone")

    def __init__(self, action: Action, found: str) -> None:
        self.action = action
        self.found = found


HEADER_CASES = {
    "short": Case.HEADER_SHORT,
    "magic": Case.HEADER_MAGIC,
    "checksum": Case.HEADER_CHECKSUM,
}


LOSSES = (Case.TORN_TAIL, Case.UNIT_UNFINISHED)
"""The cases in which something is cut that someone had written."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Something to be done before the journal is written again.

    ``offset`` is where a file is cut, ``rewrite_from`` from where on it is written again before that.
    """

    case: Case
    path: Path
    offset: int = 0
    rewrite_from: int = 0
    lost_size: int = 0

    def __str__(self) -> str:
        cut = f", {self.lost_size} bytes cut at offset {self.offset}" if self.lost_size else ""
        return f"{self.case.name} {self.path.name}: {self.case.found}{cut}"


@dataclass(frozen=True, slots=True)
class _SegmentFile:
    path: Path
    header: SegmentHeader
    segment: Segment


@dataclass(frozen=True, slots=True)
class _SegmentEnd:
    mark: int
    batch_offset: int
    used_size: int


class Recovery:
    """One look at a directory: first ``checkpoint``, then ``records()``, then everything else is known.

    Raises JournalDamaged, FormatTooNew or OSError, from the constructor or from within ``records()``; what was
    handed out before is then not to be used.

    ``segments`` are those with records in them, in order: the owner calls ``retain`` and ``release`` on them as
    it does on those of a journal. ``sequence`` is that of the last record, ``epoch`` the highest one found,
    ``next_number`` that of the first segment to be written, ``repairs`` what ``apply`` will do, and ``clean`` says
    whether the journal had been closed.
    """

    def __init__(self, directory: Path, filesystem: Filesystem | None = None) -> None:
        self.directory = directory
        self.filesystem = filesystem or LocalFilesystem()
        self.checkpoint: Checkpoint | None = None
        self.segments: list[Segment] = []
        self.repairs: list[Repair] = []
        self.spares: list[Path] = []
        self.sequence = 0
        self.epoch = 0
        self.next_number = FIRST_NUMBER
        self.clean = False
        self.complete = False
        self._files: list[_SegmentFile] = []
        self._bad_checkpoints: list[tuple[int, Path, HeaderError]] = []
        self._ends: list[_SegmentEnd] = []
        self._attested = 0  # the highest sequence of which a header or a checkpoint says that it was on disk
        self._list()
        self._reader = RecordReader(self.checkpoint_sequence)

    @property
    def checkpoint_sequence(self) -> int:
        """The sequence of the checkpoint, 0 without one."""
        return self.checkpoint.sequence if self.checkpoint else 0

    def records(self) -> Iterator[ReplayedRecord]:
        """Hand out each record that the checkpoint does not cover, as (kind, sequence, payload, segment), in order."""
        reader = self._reader
        end = Case.SEGMENT_COMPLETE
        for index, file in enumerate(self._files):
            data = self.filesystem.read(file.path)
            reader.begin(file.segment, data, HEADER_SIZE, file.header.seed, file.header.epoch)
            while records := reader.read(RECORDS_PER_READ):
                yield from records
            end = self._judge(index, data)
            used_size = reader.offset if end is Case.SEGMENT_COMPLETE else len(data.rstrip(b"\0"))
            self._ends.append(_SegmentEnd(reader.mark, reader.batch_offset, used_size))
            if end is not Case.SEGMENT_COMPLETE:
                break
        self._conclude(end)
        self.complete = True

    def apply(self) -> None:
        """Carry out the repairs, and bring on disk what was read. Raises OSError."""
        if not self.complete:
            for _ in self.records():
                pass
        self.filesystem.make_directory(self.directory)
        for repair in self.repairs:
            if repair.case.action is Action.SETTLE:
                self._settle(repair)
            elif repair.case.action is Action.SPARE:
                spare = spare_path(self.directory, number_in(repair.path.name, SEGMENT_PREFIX) or 0)
                self.filesystem.rename(repair.path, spare)
                if spare not in self.spares:
                    self.spares.append(spare)
            else:
                self.filesystem.remove(repair.path)
            self.filesystem.sync_directory(self.directory)

    def _settle(self, repair: Repair) -> None:
        # After a failed sync the page cache may hold, as clean, what the disk never got. So what nothing proves to
        # be on disk is written once more.
        data = self.filesystem.read(repair.path, repair.offset)
        descriptor = self.filesystem.open(repair.path)
        try:
            self.filesystem.write(descriptor, data[repair.rewrite_from :], repair.rewrite_from)
            self.filesystem.truncate(descriptor, repair.offset)
            self.filesystem.sync(descriptor)
        finally:
            self.filesystem.close(descriptor)

    def _list(self) -> None:
        checkpoints: list[Path] = []
        for name in self.filesystem.list(self.directory):
            path = self.directory / name
            if (number := number_in(name, SEGMENT_PREFIX)) is not None:
                self._add_segment(path, number)
            elif number_in(name, CHECKPOINT_PREFIX) is not None:
                checkpoints.append(path)
            elif number_in(name, SPARE_PREFIX) is not None:
                self.spares.append(path)
            elif name.endswith(TEMPORARY_SUFFIX) and name.startswith((SEGMENT_PREFIX, CHECKPOINT_PREFIX)):
                self.repairs.append(Repair(Case.TEMPORARY, path))
        for before, after in zip(self._files, self._files[1:], strict=False):
            if after.header.number != before.header.number + 1:
                raise self._damage(Case.NUMBER_GAP, segment_path(self.directory, before.header.number + 1), 0)
        for path in reversed(checkpoints):
            self._add_checkpoint(path)

    def _add_segment(self, path: Path, number: int) -> None:
        try:
            header = SegmentHeader.decode(self.filesystem.read(path, HEADER_SIZE))
        except HeaderError as error:
            if error.problem == "newer":
                raise FormatTooNew(Case.HEADER_NEWER.name, path, error.version, FORMAT_VERSION) from error
            raise self._damage(HEADER_CASES[error.problem], path, 0) from error
        if header.number != number:
            raise self._damage(Case.HEADER_NUMBER, path, 0)
        self._files.append(_SegmentFile(path, header, Segment(number, header.epoch, header.seed)))
        self._attested = max(self._attested, header.durable)
        self.epoch = max(self.epoch, header.epoch)

    def _add_checkpoint(self, path: Path) -> None:
        if self.checkpoint is not None:
            self.repairs.append(Repair(Case.CHECKPOINT_OLD, path))
            return
        try:
            self.checkpoint = read_checkpoint(self.filesystem, path)
        except HeaderError as error:
            if error.problem == "newer":
                raise FormatTooNew(Case.CHECKPOINT_NEWER.name, path, error.version, FORMAT_VERSION) from error
            self._bad_checkpoints.append((number_in(path.name, CHECKPOINT_PREFIX) or 0, path, error))
            return
        self._attested = max(self._attested, self.checkpoint.newest_sequence)
        self.epoch = max(self.epoch, self.checkpoint.epoch)

    def _judge(self, index: int, data: bytes) -> Case:
        """Name the state of the place where the whole records of a segment end."""
        reader = self._reader
        offset = reader.offset
        file, later = self._files[index], self._files[index + 1 :]
        if reader.mark or offset == len(data):
            return Case.SEGMENT_COMPLETE
        expected = reader.sequence + 1
        seed, epoch = file.header.seed, file.header.epoch
        found, proof = search(data, offset, seed, epoch, 0)
        if found == offset:
            raise self._damage(Case.SEQUENCE_GAP, file.path, offset)
        if index > 0 and offset == HEADER_SIZE and expected <= file.header.durable:
            before = self._files[index - 1]
            raise self._damage(Case.END_MISSING, before.path, before.segment.size)
        found, proof = search(data, offset, seed, epoch, expected)
        if proof >= 0 or expected <= self._attested or any(self._has_records(other) for other in later):
            raise self._damage(Case.RECORD_DAMAGED, file.path, offset)
        if found >= 0 or looks_like(data, offset, expected, epoch):
            return Case.TORN_TAIL
        if offset == HEADER_SIZE:
            return Case.SEGMENT_UNUSED
        if data.count(0, offset, offset + RECORD_HEADER_SIZE) == len(data[offset : offset + RECORD_HEADER_SIZE]):
            return Case.LOG_END
        return Case.STALE_TAIL

    def _has_records(self, file: _SegmentFile) -> bool:
        # A segment is written only after all before it were synced, so any record in it is a proof.
        found, _ = search(self.filesystem.read(file.path), HEADER_SIZE, file.header.seed, file.header.epoch, 0)
        return found >= 0

    def _conclude(self, end: Case) -> None:
        """Find where the log ends, refuse what contradicts it, and make the list of repairs."""
        reader = self._reader
        self.sequence = reader.sequence
        kept_count = len(self._ends)
        if reader.unit_segment is not None:
            end = Case.UNIT_UNFINISHED
            kept_count = 1 + next(i for i, file in enumerate(self._files) if file.segment is reader.unit_segment)
            self.sequence = reader.unit_sequence
            reader.unit_segment.cut(reader.unit_offset, self.sequence)
        if self.sequence < self._attested:
            path = self._files[kept_count - 1].path if kept_count else self.directory
            raise self._damage(Case.END_MISSING, path, reader.offset)
        self._check_reclaimed()
        self._plan(end, kept_count)

    def _check_reclaimed(self) -> None:
        """Refuse a log from which something is missing that was not reclaimed."""
        first_needed, checkpoint_needed = FIRST_NUMBER, 0
        if self._reader.reclaimed is not None:
            first_needed, checkpoint_needed = RECLAIMED_PAYLOAD.unpack_from(self._reader.reclaimed)
        if self._files and self._files[0].header.number > first_needed:
            raise self._damage(Case.FRONT_MISSING, segment_path(self.directory, first_needed), 0)
        if checkpoint_needed > self.checkpoint_sequence:
            for sequence, path, error in self._bad_checkpoints:
                if sequence >= checkpoint_needed:
                    raise self._damage(Case.CHECKPOINT_BAD, path, 0) from error
            raise self._damage(Case.CHECKPOINT_MISSING, checkpoint_path(self.directory, checkpoint_needed), 0)
        self.repairs += [Repair(Case.CHECKPOINT_BAD_UNUSED, path) for _, path, _ in self._bad_checkpoints]

    def _plan(self, end: Case, kept_count: int) -> None:
        """List the repairs of the segments, the last segment first: a crash amid them must not leave a gap."""
        for file in reversed(self._files[kept_count:]):
            self.repairs.append(Repair(Case.AFTER_END, file.path))
        kept = self._files[:kept_count]
        if kept and kept[-1].segment.size == HEADER_SIZE:
            self.repairs.append(
                Repair(end, kept.pop().path) if end is Case.SEGMENT_UNUSED else Repair(Case.AFTER_END, kept.pop().path)
            )
            end = Case.SEGMENT_COMPLETE
        if kept:
            last, last_end = kept[-1], self._ends[len(kept) - 1]
            offset = last.segment.size
            if end is Case.SEGMENT_COMPLETE:
                self.clean = last_end.mark == STOPPED
                end = Case.CLEAN_STOP if self.clean else Case.LOG_END
            lost_size = max(last_end.used_size - offset, 0) if end in LOSSES else 0
            self.repairs.append(Repair(end, last.path, offset, min(last_end.batch_offset, offset), lost_size))
            self.next_number = last.header.number + 1
        self.segments = [file.segment for file in kept]
        for segment in self.segments:
            segment.seal()

    def _damage(self, case: Case, path: Path, offset: int) -> JournalDamaged:
        return JournalDamaged(case.name, path, offset, case.found)
