"""The file work that nobody waits for: segments prepared ahead and given back, checkpoints written."""

import errno
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from storage.checkpoint import Checkpoint, write_checkpoint
from storage.committer import Committer
from storage.filesystem import Filesystem
from storage.layout import TEMPORARY_SUFFIX, SegmentHeader, segment_path, spare_path
from storage.machine import Machine
from storage.options import JournalOptions
from storage.segment import Segment

FILL_STEP_SIZE = 1 << 20
"""A new file is filled in synced steps of this size, so that no commit queues behind the whole of it."""

GIVE_BACK_SIZE_MIN = 1 << 20
"""A sealed segment with this much room at its end is cut."""

FILE_ID_SIZE = 8

logger = logging.getLogger(__name__)


class Housekeeper:
    """Does its tasks one after the other in a worker of its own.

    Files that were prepared are handed to the ``committer``. The outcome of each checkpoint is put into ``outcomes``
    as (sequence, error or None), and ``notify`` is called, by the worker.
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
        self.outcomes: deque[tuple[int, OSError | None]] = deque()
        self._machine = machine
        self._filesystem = filesystem
        self._directory = directory
        self._options = options
        self._epoch = epoch
        self._committer = committer
        self._notify = notify
        self._descriptors: dict[int, int] = {}
        self._spares: list[Path] = []
        self._prepare_error = 0
        self._reclaimable: deque[int] = deque()
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

    def reclaim(self, numbers: list[int]) -> None:
        """Remove segments, or keep their files as spares."""
        self._worker.put(partial(self._reclaim, numbers))

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint whose records are durable."""
        self._worker.put(partial(self._write_checkpoint, checkpoint))

    def stop(self) -> None:
        """Finish what was asked for and end the worker."""
        self._worker.stop()
        for descriptor in self._descriptors.values():
            self._filesystem.close(descriptor)
        self._descriptors.clear()

    def _adopt(self, spares: list[Path]) -> None:
        for path in spares:
            try:
                if self._has_use_for(path):
                    self._spares.append(path)
                else:
                    self._filesystem.remove(path)
            except OSError as error:
                logger.warning("the spare file %s is of no use: %s", path, error)

    def _has_use_for(self, path: Path) -> bool:
        return (
            len(self._spares) < self._options.spare_files_max
            and self._filesystem.size(path) == self._options.segment_size
        )

    def _prepare(self, segment: Segment, size: int, durable: int) -> None:
        # Behind a file that is missing there must be none: a gap in the numbers is taken for a loss.
        if self._prepare_error:
            self._committer.provide(segment, -1, 0, self._prepare_error)
            return
        try:
            descriptor, header = self._prepare_file(segment.number, size, durable)
        except OSError as error:
            logger.warning("preparing %s failed: %s", segment_path(self._directory, segment.number), error)
            self._prepare_error = error.errno or errno.EIO
            self._committer.provide(segment, -1, 0, self._prepare_error)
            return
        self._descriptors[segment.number] = descriptor
        self._committer.provide(segment, descriptor, header.seed, 0)

    def _prepare_file(self, number: int, size: int, durable: int) -> tuple[int, SegmentHeader]:
        filesystem = self._filesystem
        path = segment_path(self._directory, number)
        header = SegmentHeader(
            int.from_bytes(self._machine.random_bytes(FILE_ID_SIZE), "little"),
            number,
            durable,
            self._epoch,
            self._machine.time_us(),
        )
        if self._spares:
            source = self._spares.pop()
            descriptor = filesystem.open(source)
        else:
            source = path.with_name(path.name + TEMPORARY_SUFFIX)
            descriptor = filesystem.open(source, create=True)
        try:
            if source.suffix == TEMPORARY_SUFFIX:
                self._fill(descriptor, size)
            filesystem.write(descriptor, header.encode(), 0)
            # The header is on disk before the file gets its name: a segment with a bad header is a damaged one.
            filesystem.sync(descriptor)
            filesystem.rename(source, path)
            filesystem.sync_directory(self._directory)
        except OSError:
            filesystem.close(descriptor)
            raise
        return descriptor, header

    def _fill(self, descriptor: int, size: int) -> None:
        zeros = bytes(min(size, FILL_STEP_SIZE))
        self._filesystem.allocate(descriptor, size)
        for offset in range(0, size, len(zeros)):
            self._filesystem.write(descriptor, zeros[: size - offset], offset)
            self._filesystem.sync(descriptor)

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
        # One after the other, so that a crash leaves no gap between those that are still there. What fails is tried
        # again when the next ones are to go, and before them.
        self._reclaimable.extend(numbers)
        while self._reclaimable:
            try:
                self._give_back(self._reclaimable[0])
            except OSError as error:
                logger.warning("removing %s failed: %s", segment_path(self._directory, self._reclaimable[0]), error)
                return
            self._reclaimable.popleft()

    def _give_back(self, number: int) -> None:
        path = segment_path(self._directory, number)
        spare = spare_path(self._directory, number)
        kept = False
        try:
            kept = self._has_use_for(path) and spare not in self._spares
            if kept:
                self._filesystem.rename(path, spare)
            else:
                self._filesystem.remove(path)
        except FileNotFoundError:
            kept = False  # It went the last time, and then the sync of the directory failed.
        self._filesystem.sync_directory(self._directory)
        # Not before its old name is gone for sure: overwritten under that name it would be a damaged segment.
        if kept:
            self._spares.append(spare)

    def _write_checkpoint(self, checkpoint: Checkpoint) -> None:
        failure = None
        try:
            write_checkpoint(self._filesystem, self._directory, checkpoint, self._machine.time_us())
        except OSError as error:
            failure = error
        self.outcomes.append((checkpoint.sequence, failure))
        self._notify()
