"""The file work that nobody waits for: segments prepared ahead and given back, checkpoints written."""

import contextlib
import errno
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from storage.checkpoint import Checkpoint, write_checkpoint
from storage.committer import Committer
from storage.filesystem import Filesystem
from storage.index import write_index
from storage.layout import (
    INDEX_SUFFIX,
    TEMPORARY_SUFFIX,
    HeaderError,
    SegmentHeader,
    checkpoint_path,
    segment_path,
    spare_path,
)
from storage.machine import Machine
from storage.options import JournalOptions
from storage.postponed import Obstacle, Outcome, is_full_disk
from storage.replayer import Replayer
from storage.reserve import Reserve
from storage.segment import Segment

FILL_STEP_SIZE = 1 << 20
"""A new file is filled in synced steps of this size, so that no commit queues behind the whole of it."""

GIVE_BACK_SIZE_MIN = 1 << 20
"""A sealed segment with this much room at its end is cut."""

FILE_ID_SIZE = 8

SPARE_FILES_MAX_WHEN_LOW = 1
"""How many spare files stay when the disk is nearly full: enough for the log to go round in its own files."""

REMOVAL = "removal"
"""The subject of outcomes of removals: all of them are one queue."""

RESERVE = "reserve"
"""The subject of outcomes of the reserve: without it the disk counts as full, as soon nobody could settle anything."""

logger = logging.getLogger(__name__)


class Housekeeper:
    """Does its tasks one after the other in a thread of its own.

    Files that were prepared are handed to the ``committer``. How preparations, checkpoints and removals ended is put
    into ``outcomes``, and ``notify`` is called, on the thread. The subject of an outcome is the segment, the
    checkpoint, ``REMOVAL``, ``RESERVE``, or the directory if syncing that failed: whoever knows what is in it after
    that? ``taken_bytes`` is how much room new files have taken so far.
    """

    def __init__(
        self,
        machine: Machine,
        filesystem: Filesystem,
        directory: Path,
        options: JournalOptions,
        epoch: int,
        committer: Committer,
        notify: Callable[[], None],
    ) -> None:
        self.outcomes: deque[Outcome] = deque()
        self.taken_bytes = 0
        self._machine = machine
        self._filesystem = filesystem
        self._directory = directory
        self._options = options
        self._epoch = epoch
        self._committer = committer
        self._notify = notify
        self._descriptors: dict[int, int] = {}
        self._spares: list[Path] = []
        self._reserve = Reserve(filesystem, directory, options.segment_size)
        self._reserve_failed = False
        self._spare_files_max = options.spare_files_max
        self._unprepared: dict[int, OSError] = {}
        self._leaving: deque[int] = deque()
        self._worker = machine.worker("journal-housekeeper")

    def adopt(self, spares: list[Path]) -> None:
        """Use the spare files that a recovery found, as far as they fit."""
        self._worker.put(partial(self._adopt, spares))

    def prepare(self, segment: Segment, size: int, durable: int) -> None:
        """Have the file of a segment ready; everything up to the sequence ``durable`` is on disk already."""
        self._worker.put(partial(self._prepare, segment, size, durable))

    def finish(self, segment: Segment) -> None:
        """Close the file of a segment that is sealed and on disk."""
        self._worker.put(partial(self._finish, segment.number, segment.size))

    def index(self, segment: Segment, replayer: Replayer) -> None:
        """Write the index of a segment that is sealed and on disk."""
        self._worker.put(partial(self._index, segment.number, segment.size, replayer))

    def reclaim(self, numbers: list[int]) -> None:
        """Remove segments, or keep their files as spares."""
        self._worker.put(partial(self._reclaim, numbers))

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint whose records are durable."""
        self._worker.put(partial(self._write_checkpoint, checkpoint))

    def save_room(self, low: bool) -> None:
        """Keep fewer spare files, or as many as usual."""
        self._worker.put(partial(self._save_room, low))

    def restore_reserve(self) -> None:
        """Have the reserve whole again."""
        self._worker.put(self._restore_reserve)

    def stop(self) -> None:
        """Finish what was asked for and end the thread."""
        self._worker.stop()
        for descriptor in self._descriptors.values():
            self._filesystem.close(descriptor)
        self._descriptors.clear()

    def _adopt(self, spares: list[Path]) -> None:
        self._reserve.find()
        for path in spares:
            try:
                if self._has_use_for(path):
                    self._spares.append(path)
                else:
                    self._filesystem.remove(path)
            except OSError as error:
                logger.warning("the spare file %s is of no use: %s", path, error)

    def _has_use_for(self, path: Path) -> bool:
        return len(self._spares) < self._spare_files_max and self._filesystem.size(path) == self._options.segment_size

    def _prepare(self, segment: Segment, size: int, durable: int) -> None:
        number = segment.number
        try:
            # In order, always: a segment that is missing between two others looks as if it had been lost.
            for earlier, error in self._unprepared.items():
                if earlier < number:
                    raise error
            descriptor, header = self._prepare_file(segment, size, durable)
        except OSError as error:
            self._unprepared[number] = error
            obstacle = _obstacle(segment_path(self._directory, number), "preparing", error)
            self._tell(Outcome(segment, obstacle, partial(self._prepare_again, segment, size, durable)))
            self._committer.provide(segment, -1, 0, obstacle.errno)
            return
        if self._unprepared.pop(number, None) is not None:
            self._tell(Outcome(segment, None))
        self._descriptors[number] = descriptor
        segment.created_us = header.created_us
        self._committer.provide(segment, descriptor, header.seed, 0)
        if not self._reserve_failed:
            self._restore_reserve()

    def _prepare_again(self, segment: Segment, size: int, durable: int) -> None:
        self._committer.withdraw(segment)
        self.prepare(segment, size, durable)

    def _prepare_file(self, segment: Segment, size: int, durable: int) -> tuple[int, SegmentHeader]:
        filesystem = self._filesystem
        path = segment_path(self._directory, segment.number)
        header = SegmentHeader(
            int.from_bytes(self._machine.random_bytes(FILE_ID_SIZE), "little"),
            segment.number,
            durable,
            self._epoch,
            self._machine.time_us(),
        )
        source, descriptor = self._find_file(segment, path, size)
        try:
            filesystem.write(descriptor, header.encode(), 0)
            # The header is on disk before the file gets its name: a segment with a bad header is a damaged one.
            filesystem.sync(descriptor)
            self._rename_in_room(source, path)
        except OSError:
            filesystem.close(descriptor)
            # Another try takes another file: it has no use for half of one, nor for one whose sync has failed.
            self._discard(source)
            raise
        try:
            self._sync_directory()
        except OSError:
            filesystem.close(descriptor)
            raise
        return descriptor, header

    def _find_file(self, segment: Segment, path: Path, size: int) -> tuple[Path, int]:
        """Open a file that can become a segment: one that was used before, a new one, or that of the reserve."""
        if self._spares:
            source = self._spares.pop()
            return source, self._filesystem.open(source)
        source = path.with_name(path.name + TEMPORARY_SUFFIX)
        try:
            return source, self._create(source, size)
        except OSError as error:
            reserved = self._reserve.take_segment() if is_full_disk(error) else None
            if reserved is None:
                raise
            # Whoever publishes has to wait from now on: what is left is for those who settle.
            self._miss_reserve(path, "preparing", error)
            # It may be larger than what was asked for, and all of it is needed.
            segment.capacity = self._options.segment_size
            return reserved, self._filesystem.open(reserved)

    def _rename_in_room(self, source: Path, path: Path) -> None:
        """Give a file its name, if need be with the room that is held for a checkpoint. Raises OSError."""
        try:
            self._filesystem.rename(source, path)
        except OSError as error:
            # A new name may take a block of the directory.
            if not is_full_disk(error) or not self._reserve.give_up_checkpoint():
                raise
            self._miss_reserve(path, "preparing", error)
            self._filesystem.rename(source, path)

    def _create(self, path: Path, size: int) -> int:
        descriptor = self._filesystem.open(path, create=True)
        try:
            self._fill(descriptor, size)
        except OSError:
            self._filesystem.close(descriptor)
            self._discard(path)
            raise
        return descriptor

    def _discard(self, path: Path) -> None:
        try:
            self._filesystem.remove(path)
        except OSError as error:
            logger.warning("removing %s failed: %s", path, error)

    def _sync_directory(self) -> None:
        try:
            self._filesystem.sync_directory(self._directory)
        except OSError as error:
            self._tell(Outcome(self._directory, _obstacle(self._directory, "syncing", error)))
            raise

    def _tell(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._notify()

    def _fill(self, descriptor: int, size: int) -> None:
        zeros = bytes(min(size, FILL_STEP_SIZE))
        self._filesystem.allocate(descriptor, size)
        self._take(size)
        for offset in range(0, size, len(zeros)):
            self._filesystem.write(descriptor, zeros[: size - offset], offset)
            self._filesystem.sync(descriptor)

    def _take(self, size: int) -> None:
        self.taken_bytes += size
        self._notify()

    def _restore_reserve(self) -> None:
        try:
            # Segments come first: as long as one of them finds no room there is none for the reserve.
            for error in self._unprepared.values():
                raise error
            while not self._reserve.is_whole:
                self._make_reserve()
        except OSError as error:
            self._miss_reserve(self._reserve.segment_path, "reserving", error)
            return
        if self._reserve_failed:
            self._reserve_failed = False
            self._tell(Outcome(RESERVE, None))

    def _make_reserve(self) -> None:
        try:
            self._take(self._reserve.make_next())
        except OSError as error:
            if not is_full_disk(error) or not self._spares:
                raise
            # A spare file only saves time.
            self._discard(self._spares.pop())

    def _miss_reserve(self, path: Path, operation: str, error: OSError) -> None:
        self._reserve_failed = True
        self._tell(Outcome(RESERVE, _obstacle(path, operation, error), self.restore_reserve))

    def _finish(self, number: int, end: int) -> None:
        descriptor = self._descriptors.pop(number, None)
        if descriptor is None:
            return
        path = segment_path(self._directory, number)
        try:
            if self._filesystem.size(path) - end >= GIVE_BACK_SIZE_MIN:
                self._filesystem.truncate(descriptor, end)
        except OSError as error:
            logger.warning("cutting %s failed: %s", path, error)
        finally:
            self._filesystem.close(descriptor)

    def _reclaim(self, numbers: list[int]) -> None:
        had_failed = bool(self._leaving)
        self._leaving.extend(numbers)
        while self._leaving:
            path = segment_path(self._directory, self._leaving[0])
            spare = None
            try:
                spare = self._remove(path, spare_path(self._directory, self._leaving[0]))
            except FileNotFoundError:
                logger.warning("%s is gone already", path)
            except OSError as error:
                self._tell(Outcome(REMOVAL, _obstacle(path, "removing", error), partial(self.reclaim, [])))
                return
            self._leaving.popleft()
            try:
                # One after the other, so that a crash leaves no gap between those that are still there.
                self._sync_directory()
            except OSError:
                return
            # Not before its old name is gone for sure: overwritten under that name it would be a damaged segment.
            if spare == self._reserve.segment_path:
                self._reserve.put_segment()
            elif spare is not None:
                self._spares.append(spare)
        if had_failed:
            self._tell(Outcome(REMOVAL, None))
        if self._reserve_failed:
            self._restore_reserve()

    def _remove(self, path: Path, spare: Path) -> Path | None:
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.remove(path.with_name(path.name + INDEX_SUFFIX))
        name = None
        if self._reserve.has_use_for(path):
            name = self._reserve.segment_path
        elif self._has_use_for(path) and spare not in self._spares:
            name = spare
        if name is not None:
            try:
                self._filesystem.rename(path, name)
            except OSError as error:
                # A new name may take a block of the directory.
                if not is_full_disk(error):
                    raise
            else:
                return name
        self._filesystem.remove(path)
        return None

    def _save_room(self, low: bool) -> None:
        usual = self._options.spare_files_max
        self._spare_files_max = min(usual, SPARE_FILES_MAX_WHEN_LOW) if low else usual
        while len(self._spares) > self._spare_files_max:
            self._discard(self._spares.pop())

    def _index(self, number: int, end: int, replayer: Replayer) -> None:
        if self._reserve_failed:
            # The next start reads the segment instead. What room there is is for what makes more of it.
            return
        try:
            if not write_index(self._filesystem, self._directory, number, end, replayer):
                logger.warning("no index for segment %d: its records cannot be read", number)
        except FileNotFoundError:
            # Nothing in it is needed any more, and it is gone.
            pass
        except (OSError, HeaderError) as error:
            # The next start reads the segment instead.
            logger.warning("no index for segment %d: %s", number, error)

    def _write_checkpoint(self, checkpoint: Checkpoint) -> None:
        path = checkpoint_path(self._directory, checkpoint.sequence)
        try:
            size = self._write_in_room(checkpoint)
        except OSError as error:
            obstacle = _obstacle(path, "writing", error)
            self._tell(Outcome(checkpoint, obstacle, partial(self.write_checkpoint, checkpoint)))
        else:
            self._reserve.expect_checkpoint(size)
            self._tell(Outcome(checkpoint, None))
        if not self._reserve.is_whole:
            self._restore_reserve()

    def _write_in_room(self, checkpoint: Checkpoint) -> int:
        """Write a checkpoint, if need be with the room that is held for it, and return its size. Raises OSError."""
        filesystem, directory = self._filesystem, self._directory
        try:
            return write_checkpoint(filesystem, directory, checkpoint, self._sync_directory, self._machine.time_us())
        except OSError as error:
            if not is_full_disk(error) or not self._reserve.give_up_checkpoint():
                raise
        return write_checkpoint(filesystem, directory, checkpoint, self._sync_directory, self._machine.time_us())


def _obstacle(file: Path, operation: str, error: OSError) -> Obstacle:
    return Obstacle(file, operation, error.errno or errno.EIO)
