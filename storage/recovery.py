"""What a journal's files say after whatever happened, and what must be done before it is written again.

Recovery reads and changes nothing. It hands out the checkpoint and the records, ends with lists of what is damaged and
of repairs, and refuses (JournalDamaged) where files are missing. ``storage.cases`` is the whole table of decisions.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from storage.cases import HARMLESS, LOSSES, WITH_REPAIR, Action, Case
from storage.checkpoint import Checkpoint, read_checkpoint
from storage.damage import Damage, keep_copies, read_around
from storage.errors import FormatTooNew, JournalDamaged
from storage.filesystem import Filesystem, LocalFilesystem
from storage.index import Index
from storage.judge import Identity, Place, Verdict, identify, judge
from storage.layout import (
    CHECKPOINT_PREFIX,
    FORMAT_VERSION,
    HEADER_SIZE,
    INDEX_SUFFIX,
    PROOF_PREFIX,
    SEGMENT_PREFIX,
    SPARE_PREFIX,
    TEMPORARY_SUFFIX,
    HeaderError,
    SegmentHeader,
    checkpoint_path,
    index_path,
    number_in,
    proof_path,
    segment_path,
    spare_path,
)
from storage.reader import RecordReader
from storage.record import RECLAIMED, STOPPED, peek, search
from storage.replayer import Replayer
from storage.segment import Segment
from storage.settling import make_spare, settle, settle_index

RECORDS_PER_READ = 1024
FIRST_NUMBER = 1
RECLAIMED_PAYLOAD = struct.Struct("<QQ")
"""The first segment that is needed, and the sequence of the checkpoint that stands for those before it."""
RECLAIMED_RANGE = struct.Struct("<QQ")
"""The first and the last of later segments that may be gone too, which follows as often as there are any."""


def reclaimed_payload(kept: Sequence[int], checkpoint_sequence: int) -> bytes:
    """Return what the mark says when the segments ``kept`` stay, the current one at the end."""
    gaps = [(before + 1, after - 1) for before, after in pairwise(kept) if after - before > 1]
    return RECLAIMED_PAYLOAD.pack(kept[0], checkpoint_sequence) + b"".join(RECLAIMED_RANGE.pack(*gap) for gap in gaps)


ReplayedRecord = tuple[int, int, bytes, Segment]


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
    number: int
    segment: Segment
    header: SegmentHeader | None  # None if it is damaged

    @property
    def durable(self) -> int:
        return self.header.durable if self.header is not None else 0


def _replacement(file: _SegmentFile) -> bytes:
    """Return a header for a segment whose own is damaged, if its records tell what must be in it."""
    segment = file.segment
    if file.header is not None or segment.epoch == 0:
        return b""
    return SegmentHeader.with_seed(segment.seed, segment.number, segment.epoch).encode()


@dataclass(frozen=True, slots=True)
class _SegmentEnd:
    mark: int
    batch_offset: int
    used_size: int


class Recovery:
    """One look at a directory: first ``checkpoint``, then ``records()``, then everything else is known.

    Raises JournalDamaged, FormatTooNew or OSError, from the constructor or from within ``records()``; what was
    handed out before is then not to be used. ``forced`` goes on where JournalDamaged would be raised, and notes in
    ``overcome`` what it went over.

    ``replay`` does as ``records``, from the indexes of sealed segments as far as there are any; ``unindexed`` are the
    segments that had to be read.

    ``segments`` are those with records in them, in order: the owner calls ``retain`` and ``release`` on them as
    it does on those of a journal. ``sequence`` is that of the last record, ``epoch`` the highest one found,
    ``next_number`` that of the first segment to be written, ``damages`` what is damaged and was left out, ``repairs``
    what ``apply`` will do, and ``clean`` says whether the journal had been closed. ``progress`` is called with the
    bytes that were read and those that there are, after each segment.
    """

    def __init__(self, directory: Path, filesystem: Filesystem | None = None, forced: bool = False) -> None:
        self.directory = directory
        self.filesystem = filesystem or LocalFilesystem()
        self.checkpoint: Checkpoint | None = None
        self.segments: list[Segment] = []
        self.damages: list[Damage] = []
        self.repairs: list[Repair] = []
        self.spares: list[Path] = []
        self.overcome: list[tuple[Case, Path]] = []
        self.progress: Callable[[int, int], object] | None = None
        self.sequence = 0
        self.epoch = 0
        self.next_number = FIRST_NUMBER
        self.clean = False
        self.complete = False
        self._forced = forced
        self._files: list[_SegmentFile] = []
        self._gaps: list[tuple[int, int]] = []  # index of the file behind it, and how many records are missing
        self._bad_checkpoints: list[tuple[int, Path, HeaderError]] = []
        self._ends: list[_SegmentEnd] = []
        self._attested = 0  # the highest sequence of which a header or a checkpoint says that it was on disk
        self._proofs: list[tuple[int, Path]] = []
        self._proof_needed = False
        self._reclaimed: bytes | None = None
        self._damages_before_mark = 0
        self._indexes: set[int] = set()
        self._unharmed: set[Path] = set()  # the segment that was read last, unless something in it is damaged
        self.unindexed: list[Segment] = []
        self._stopped_index: tuple[int, Index] | None = None
        self._open_ended = False  # how many records the last damage has cost is not known yet
        self._list()
        self._reader = RecordReader(self.checkpoint_sequence)

    @property
    def checkpoint_sequence(self) -> int:
        """The sequence of the checkpoint, 0 without one."""
        return self.checkpoint.sequence if self.checkpoint else 0

    @property
    def lost_count(self) -> int:
        """How many records are known to be lost."""
        return sum(damage.count for damage in self.damages)

    def records(self) -> Iterator[ReplayedRecord]:
        """Hand out each record that the checkpoint does not cover, as (kind, sequence, payload, segment), in order."""
        for records in self._read(None):
            for record in records:
                yield record[:4]

    def replay(self, replayer: Replayer) -> None:
        """Have ``replayer`` take in each record that the checkpoint does not cover, in order.

        Segments that have an index are not read, so damage in them is found when their records are.
        """
        for records in self._read(replayer):
            replayer.take_records(records)

    def _read(self, replayer: Replayer | None) -> Iterator[list[Any]]:
        """Go through all segments, and hand out the records of those that have to be read."""
        reader = self._reader
        end = Case.SEGMENT_COMPLETE
        done, size = 0, sum(self.filesystem.size(file.path) for file in self._files)
        for place, file in enumerate(self._files):
            index = self._index_of(file)
            if index is not None and index.mark == STOPPED:
                self._stopped_index = (file.number, index)
            gap = place > 0 and file.number > self._files[place - 1].number + 1
            if gap:
                self._gaps.append((place, 0))
            if gap and index is not None and replayer is not None:
                yield self._leap(index.first_sequence)
            if index is not None and replayer is not None and self._replay_index(file, index, replayer):
                done += self.filesystem.size(file.path)
                self._tell(done, size)
                continue
            if index is None:
                self.unindexed.append(file.segment)
            data = read_around(self.filesystem, file.path)
            done += len(data)
            identity = self._identify(file, data)
            if identity is None:
                self._tell(done, size)
                self._ends.append(_SegmentEnd(0, len(data), len(data)))
                continue
            first = peek(data, HEADER_SIZE, identity.seed, identity.epoch) if gap else None
            if first is not None:
                yield self._leap(first[1])
            reader.begin(file.segment, data, HEADER_SIZE, identity.seed, identity.epoch)
            while True:
                while records := reader.read(RECORDS_PER_READ):
                    yield records
                self._note_mark()
                if self._open_ended and reader.offset > HEADER_SIZE:
                    self._lose_none()
                if reader.mark or reader.offset >= len(data):
                    end = Case.SEGMENT_COMPLETE
                    break
                verdict = self._judge(place, data, identity)
                end = verdict.case
                if end is Case.SEQUENCE_REPEATED:
                    self._refuse(end, file.path, reader.offset)
                elif end.action is not Action.SKIP:
                    self._prove_before(data, identity)
                    break
                self._skip(file, verdict)
                if verdict.resume_sequence == 0:
                    end = Case.SEGMENT_COMPLETE
                    break
            used_size = reader.offset if end is Case.SEGMENT_COMPLETE else len(data.rstrip(b"\0"))
            self._ends.append(_SegmentEnd(reader.mark, reader.batch_offset, used_size))
            self._tell(done, size)
            self._unharmed = set() if any(damage.path == file.path for damage in self.damages) else {file.path}
            if end is not Case.SEGMENT_COMPLETE:
                break
        # What a unit left behind that damage had cut short.
        if self._open_ended:
            yield reader.read(RECORDS_PER_READ)
        self._conclude(end)
        self.complete = True

    def _index_of(self, file: _SegmentFile) -> Index | None:
        """Return the index of a segment, if there is one that can be believed."""
        if file.number not in self._indexes or file.header is None:
            return None
        path = index_path(self.directory, file.number)
        try:
            index = Index.decode(self.filesystem.read(path))
        except HeaderError as error:
            if error.problem == "newer":
                raise FormatTooNew(Case.HEADER_NEWER.name, path, error.version, FORMAT_VERSION) from error
        except (ValueError, OSError):
            pass
        else:
            size = self.filesystem.size(file.path)
            if index.file_id == file.header.file_id and index.end <= size and (index.mark or index.end == size):
                return index
        self.repairs.append(Repair(Case.INDEX_BAD, path))
        return None

    def _replay_index(self, file: _SegmentFile, index: Index, replayer: Replayer) -> bool:
        """Take a segment's records from its index. Returns False if they do not go on where those before ended."""
        reader = self._reader
        if file.header is None or self._open_ended:
            return False
        if reader.sequence and index.first_sequence != reader.sequence + 1:
            return False
        file.segment.be_checked_with(file.header.seed, file.header.epoch)
        reader.replay_index(file.segment, index.stream, HEADER_SIZE, index.first_sequence, replayer)
        self._note_mark()
        self._ends.append(_SegmentEnd(index.mark, index.batch_offset, index.end))
        return True

    def _note_mark(self) -> None:
        if self._reader.reclaimed is not self._reclaimed:
            self._reclaimed = self._reader.reclaimed
            self._damages_before_mark = len(self.damages)

    def apply(self) -> None:
        """Carry out the repairs, and bring on disk what was read. Raises OSError."""
        if not self.complete:
            for _ in self.records():
                pass
        self.filesystem.make_directory(self.directory)
        # First of all: what is done about the files may overwrite or remove the octets, now or later.
        keep_copies(self.filesystem, self.directory, self.damages)
        if self._proof_needed:
            # What proves that the damaged records had been on disk may be in what is cut.
            self.filesystem.close(self.filesystem.open(proof_path(self.directory, self.sequence), create=True))
            self.filesystem.sync_directory(self.directory)
        for repair in self.repairs:
            if repair.case.action is Action.SETTLE:
                self._settle(repair)
            elif repair.case.action is Action.SPARE:
                spare = spare_path(self.directory, number_in(repair.path.name, SEGMENT_PREFIX) or 0)
                if make_spare(self.filesystem, repair.path, spare) and spare not in self.spares:
                    self.spares.append(spare)
            else:
                self.filesystem.remove(repair.path)
            self.filesystem.sync_directory(self.directory)

    def _settle(self, repair: Repair) -> None:
        last = self.segments[-1]
        stopped = last if repair.case is Case.CLEAN_STOP else None
        number, index = self._stopped_index or (0, None)
        if stopped is not None and index is not None and number == last.number:
            # It comes first: it is what a start believes.
            settle_index(self.filesystem, index_path(self.directory, number), index)
        settle(
            self.filesystem,
            repair.path,
            repair.offset,
            repair.rewrite_from,
            is_unharmed=repair.path in self._unharmed,
            header=next((_replacement(file) for file in self._files if file.path == repair.path), b""),
            stopped=stopped,
        )

    def _tell(self, done: int, size: int) -> None:
        if self.progress is not None:
            self.progress(done, size)

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
            elif name.endswith(INDEX_SUFFIX) and (number := number_in(name.removesuffix(INDEX_SUFFIX), SEGMENT_PREFIX)):
                self._indexes.add(number)
            elif (proved := number_in(name, PROOF_PREFIX)) is not None:
                self._proofs.append((proved, path))
            elif name.endswith(TEMPORARY_SUFFIX) and name.startswith((SEGMENT_PREFIX, CHECKPOINT_PREFIX)):
                self.repairs.append(Repair(Case.TEMPORARY, path))
        for number in sorted(self._indexes - {file.number for file in self._files}):
            self._indexes.remove(number)
            self.repairs.append(Repair(Case.INDEX_ORPHAN, index_path(self.directory, number)))
        for path in reversed(checkpoints):
            self._add_checkpoint(path)
        self._attested = max([self._attested, *(proved for proved, _ in self._proofs)])

    def _add_segment(self, path: Path, number: int) -> None:
        header: SegmentHeader | None
        try:
            header = SegmentHeader.decode(read_around(self.filesystem, path, HEADER_SIZE))
        except HeaderError as error:
            if error.problem == "newer":
                raise FormatTooNew(Case.HEADER_NEWER.name, path, error.version, FORMAT_VERSION) from error
            header = None
        else:
            if header.number != number:
                self._refuse(Case.HEADER_NUMBER, path)
                return
            self._attested = max(self._attested, header.durable)
            self.epoch = max(self.epoch, header.epoch)
        segment = Segment(number)
        segment.created_us = header.created_us if header is not None else 0
        self._files.append(_SegmentFile(path, number, segment, header))

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

    def _identify(self, file: _SegmentFile, data: bytes) -> Identity | None:
        """Find what the records of a segment can be told by, and note a damaged header."""
        identity = identify(data, self._reader.sequence + 1)
        if isinstance(identity, Identity):
            if identity.case is not None:
                self.damages.append(Damage(identity.case, file.path, file.number, 0, min(HEADER_SIZE, len(data))))
            self.epoch = max(self.epoch, identity.epoch)
            return identity
        case = Case.HEADER_SHORT if identity is Case.HEADER_SHORT else Case.HEADER_LOST
        # Where the front was reclaimed nobody knows which record should be the first.
        known = self._reader.sequence > 0 or file.number == FIRST_NUMBER
        lost = self._reader.sequence + 1 if known else 0
        self.damages.append(Damage(case, file.path, file.number, 0, len(data), lost))
        self._open_ended = True
        self._reader.begin(file.segment, data, len(data), 0, 0)
        self._reader.resume(len(data), self._reader.sequence + 1)
        return None

    def _leap(self, sequence: int) -> list[Any]:
        """Go on behind missing segments; the end tells whether they may be. Returns what a unit left before them."""
        if self._open_ended or sequence <= self._reader.sequence:
            return []
        self._gaps[-1] = (self._gaps[-1][0], sequence - self._reader.sequence - 1)
        left: list[Any] = self._reader.leap(sequence)
        return left

    def _judge(self, index: int, data: bytes, identity: Identity) -> Verdict:
        reader, later = self._reader, self._files[index + 1 :]
        # Nothing tells with which record the first segment of all begins, unless it is the first ever, and with which
        # the log goes on behind damage that goes up to the end of its segment.
        known = (reader.sequence > 0 or self._files[index].number == FIRST_NUMBER) and not self._open_ended
        if self._gaps and self._gaps[-1][0] == index and reader.offset == HEADER_SIZE:
            known = False
        place = Place(data, reader.offset, reader.sequence + 1, known, identity, self._attested)
        return judge(place, lambda: any(self._has_records(file) for file in later))

    def _prove_before(self, data: bytes, identity: Identity) -> None:
        """Take what was begun in a segment for a proof of what stood before it, however much that was."""
        first = peek(data, HEADER_SIZE, identity.seed, identity.epoch) if self._open_ended else None
        if first is not None:
            self._attested = max(self._attested, first[1] - 1)

    def _has_records(self, file: _SegmentFile) -> bool:
        data = read_around(self.filesystem, file.path)
        identity = identify(data, self._reader.sequence + 1)
        return isinstance(identity, Identity) and search(data, HEADER_SIZE, identity.seed, identity.epoch, 0)[0] >= 0

    def _skip(self, file: _SegmentFile, verdict: Verdict) -> None:
        """Note a damaged stretch, and have the reader go on behind it."""
        reader = self._reader
        offset, sequence = reader.offset, verdict.resume_sequence
        if self._open_ended and sequence:
            # Only of a record whose header is whole is it known that it is not among those.
            self._count_lost(verdict.lost_sequence if verdict.kind is not None else sequence)
        if not self._open_ended or verdict.case is not Case.SEQUENCE_GAP:
            count = sequence - verdict.lost_sequence if sequence and verdict.lost_sequence else 0
            size = verdict.resume_offset - offset
            self.damages.append(
                Damage(verdict.case, file.path, file.number, offset, size, verdict.lost_sequence, count, verdict.kind)
            )
        self._open_ended = sequence == 0
        reader.resume(verdict.resume_offset, sequence or reader.sequence + 1)

    def _count_lost(self, next_sequence: int) -> None:
        """Say how many records a stretch of damage has cost, now that it is known where it ends.

        It may be of several places, in several segments: only of the first is it known which record should be there.
        """
        for place, damage in reversed(list(enumerate(self.damages))):
            if damage.sequence == self._reader.sequence + 1:
                count = next_sequence - damage.sequence
                self.damages[place] = replace(damage, sequence=damage.sequence if count else 0, count=count)
                return

    def _lose_none(self) -> None:
        """Say that a stretch of damage has cost no record, because the log goes on behind it with the very next one."""
        self._open_ended = False
        self.damages = [damage if damage.count else replace(damage, sequence=0) for damage in self.damages]

    def _conclude(self, end: Case) -> None:
        """Find where the log ends, refuse what contradicts it, and make the list of repairs."""
        reader = self._reader
        self.sequence = reader.sequence
        kept_count = len(self._ends)
        if end is Case.END_MISSING:
            before = self._files[max(kept_count - 2, 0)]
            self._refuse(end, before.path, before.segment.size)
        if reader.unit_segment is not None:
            end = Case.UNIT_UNFINISHED
            kept_count = 1 + next(i for i, file in enumerate(self._files) if file.segment is reader.unit_segment)
            self.sequence = reader.unit_sequence
            reader.unit_segment.cut(reader.unit_offset, self.sequence)
        if self._open_ended and any(self._begins_loss(damage) for damage in self.damages):
            # What proves that it had been on disk may lie in what is cut or goes: the next start is to find it so, too.
            self._attested = max(self._attested, reader.sequence + 1)
        if self.sequence < self._attested:
            if self._open_ended:
                self._count_lost(self._attested + 1)
            elif end is not Case.END_MISSING:
                path = self._files[kept_count - 1].path if kept_count else self.directory
                self._refuse(Case.END_MISSING, path, reader.offset)
            self.sequence = self._attested
        self._check_reclaimed()
        self._plan(end, kept_count)

    def _begins_loss(self, damage: Damage) -> bool:
        """Say whether the record behind the last one that could be read is known to have been in a damaged stretch."""
        return damage.case is Case.RECORD_DAMAGED and damage.sequence == self._reader.sequence + 1

    def _check_reclaimed(self) -> None:
        """Refuse a log from which something is missing that was not reclaimed."""
        first_needed, checkpoint_needed = FIRST_NUMBER, 0
        if self._reader.reclaimed is not None:
            first_needed, checkpoint_needed = RECLAIMED_PAYLOAD.unpack_from(self._reader.reclaimed)
        self._check_gaps()
        if self._files and self._files[0].number > first_needed:
            if self._may_have_stood_in_damage(self._files[0].number - 1):
                file = self._files[0]
                self.damages.append(Damage(Case.FRONT_UNPROVED, file.path, file.number, 0, 0))
            else:
                self._refuse(Case.FRONT_MISSING, segment_path(self.directory, first_needed))
        if any(damage.case in (Case.FRONT_UNPROVED, Case.GAP_UNPROVED) for damage in self.damages):
            # Because of which checkpoint they were reclaimed stood there too: as far as anybody knows, the newest one.
            checkpoint_needed = max([checkpoint_needed, *(sequence for sequence, _, _ in self._bad_checkpoints)])
        if checkpoint_needed > self.checkpoint_sequence:
            for sequence, path, _ in self._bad_checkpoints:
                if sequence >= checkpoint_needed:
                    self._refuse(Case.CHECKPOINT_BAD, path)
                    break
            else:
                self._refuse(Case.CHECKPOINT_MISSING, checkpoint_path(self.directory, checkpoint_needed))
        used = {path for _, path in self.overcome}
        self.repairs += [
            Repair(Case.CHECKPOINT_BAD_UNUSED, path) for _, path, _ in self._bad_checkpoints if path not in used
        ]

    def _check_gaps(self) -> None:
        """Refuse a log in which a segment is missing between two others, unless the last mark lets it go."""
        payload = self._reader.reclaimed or RECLAIMED_PAYLOAD.pack(FIRST_NUMBER, 0)
        # Of those before the first one that is needed, some may still be there.
        gone = [(0, RECLAIMED_PAYLOAD.unpack_from(payload)[0] - 1)]
        gone += RECLAIMED_RANGE.iter_unpack(payload[RECLAIMED_PAYLOAD.size :])
        for index, count in self._gaps:
            file = self._files[index]
            missing = list(range(self._files[index - 1].number + 1, file.number))
            missing = [number for number in missing if not any(first <= number <= last for first, last in gone)]
            if not missing:
                continue
            if self._may_have_stood_in_damage(missing[0]):
                self.damages.append(Damage(Case.GAP_UNPROVED, file.path, file.number, 0, 0))
                continue
            for number in missing:
                self._refuse(Case.NUMBER_GAP, segment_path(self.directory, number))
            self.damages.append(Damage(Case.SEQUENCE_GAP, file.path, file.number, HEADER_SIZE, 0, 0, count))

    def _may_have_stood_in_damage(self, missing: int) -> bool:
        """Say whether a mark that lets this segment go may be among what is lost.

        It was written behind that segment, and a later mark would repeat it.
        """
        return any(
            damage.kind in (None, RECLAIMED) and damage.case not in HARMLESS and damage.segment > missing
            for damage in self.damages[self._damages_before_mark :]
        )

    def _plan(self, end: Case, kept_count: int) -> None:
        """List the repairs of the segments, the last segment first: a crash amid them must not leave a gap."""
        for file in reversed(self._files[kept_count:]):
            self.repairs.append(Repair(Case.AFTER_END, file.path))
        kept = self._files[:kept_count]
        # A file that does not tell what is in it stays: it is the place of what may be missing.
        unread = {damage.path for damage in self.damages if damage.case in (Case.HEADER_SHORT, Case.HEADER_LOST)}
        while kept and kept[-1].segment.size <= HEADER_SIZE and kept[-1].path not in unread:
            case = Case.SEGMENT_UNUSED if end is Case.SEGMENT_UNUSED else Case.AFTER_END
            self.repairs.append(Repair(case, kept.pop().path))
            end = Case.SEGMENT_COMPLETE
        if kept:
            last, last_end = kept[-1], self._ends[len(kept) - 1]
            offset = last.segment.size
            if end.action is not Action.SETTLE:
                self.clean = last_end.mark == STOPPED
                end = Case.CLEAN_STOP if self.clean else Case.LOG_END
            lost_size = max(last_end.used_size - offset, 0) if end in LOSSES else 0
            self.repairs.append(Repair(end, last.path, offset, min(last_end.batch_offset, offset), lost_size))
            self.next_number = last.number + 1
        attested = max([self.checkpoint_sequence, *(file.durable for file in kept)])
        self._proof_needed = bool(self.damages) and self.sequence > attested
        for proved, path in self._proofs:
            if proved < self.sequence or not self._proof_needed:
                self.repairs.append(Repair(Case.PROOF_OLD, path))
        self.segments = [file.segment for file in kept]
        for segment in self.segments:
            segment.seal()

    def _refuse(self, case: Case, path: Path, offset: int = 0) -> None:
        if not self._forced:
            raise JournalDamaged(case.name, path, offset, case.found, WITH_REPAIR[case])
        self.overcome.append((case, path))
