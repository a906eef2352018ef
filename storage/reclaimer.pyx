"""Which segments of a journal are still needed, and how the others go.

Segments go when nothing in them is needed any more, the oldest first, in three steps that each wait for the one
before to be durable: a checkpoint, if they hold state; a mark in the log which says that they may be gone; and the
removal of the files.
"""

cimport cython

from storage.checkpoint import Checkpoint
from storage.recovery import RECLAIMED_PAYLOAD

from storage.journal cimport Journal
from storage.pthread cimport eventfd_write
from storage.record cimport KIND_RECLAIMED
from storage.segment cimport Segment


@cython.final
cdef class Reclaimer:
    """A journal's sealed segments, and the checkpoint that is being made."""

    def __init__(self, journal, recovery, snapshot):
        self.journal = journal
        self.snapshot = snapshot
        self.segments = list(recovery.segments)
        self.by_number = {segment.number: segment for segment in self.segments}
        self.unfinished = len(self.segments)
        self.checkpoint_sequence = recovery.checkpoint_sequence
        self.due = True

    cdef int go_on(self) except -1:
        """Do the next bit of what has to be done, and see whether there is more. For each time a commit has ended."""
        cdef Journal journal = self.journal
        if self._slices is not None and not journal._unit_open and not journal.failed and not journal._closing:
            self._take_slice()
        return self.reclaim()

    cdef int reclaim(self) except -1:
        """Let segments go, as far as they may."""
        cdef Journal journal = self.journal
        cdef Segment segment
        cdef list numbers
        cdef int ready_count = 0
        self.due = False
        if journal.failed or journal._closing:
            return 0
        self._hand_over_checkpoint()
        if self._mark_batch != 0:
            if self._mark_batch > journal.durable_batch:
                return 0
            numbers = [kept.number for kept in self.segments if kept.number < self._mark_number]
            del self.segments[:len(numbers)]
            for number in numbers:
                del self.by_number[number]
            journal._fetcher.forget_files()
            self.unfinished -= len(numbers)
            self._mark_batch = 0
            journal._housekeeper.reclaim(numbers)
        if journal._unit_open:
            return 0
        for segment in self.segments:
            if segment.live != 0:
                break
            if segment.state_sequence > self.checkpoint_sequence:
                self._start_checkpoint()
                break
            ready_count += 1
        if ready_count > 0:
            # The mark comes behind whatever made the segments dispensable, and the log becomes durable in order.
            segment = self.segments[ready_count - 1]
            self._mark_number = segment.number + 1
            journal._append_mark(KIND_RECLAIMED, RECLAIMED_PAYLOAD.pack(self._mark_number, self.checkpoint_sequence))
            self._mark_batch = journal.open_batch
        return 0

    # Checkpoints

    cdef int _start_checkpoint(self) except -1:
        cdef Journal journal = self.journal
        if self._slices is not None or self.snapshot is None or journal.current.number < self._checkpoint_not_before:
            return 0
        if self.checkpoint is not None:
            if self._checkpoint_not_before == 0:
                return 0
            journal._postponed.remove(self.checkpoint)
            self.checkpoint = None
        self._checkpoint_not_before = 0
        self._slices = self.snapshot()
        self._slices_sequence = journal.sequence
        return self._take_slice()

    cdef int _take_slice(self) except -1:
        """Have the owner encode one more slice of its state, and see to it that the next one has its turn."""
        cdef Journal journal = self.journal
        slices = self._slices
        self._slices = None
        try:
            next(slices)
        except StopIteration as end:
            self.checkpoint = Checkpoint(self._slices_sequence, journal._epoch, end.value, journal.sequence)
            self._checkpoint_handed_over = False
            return self._hand_over_checkpoint()
        except BaseException:
            # The next try comes with the next segment, as after an error of the disk.
            self._checkpoint_not_before = journal.current.number + 1
            raise
        self._slices = slices
        eventfd_write(journal.completion_fd, 1)
        return 0

    cdef int _hand_over_checkpoint(self) except -1:
        """Have the checkpoint written as soon as everything that it stands for, or contains, is on disk."""
        cdef Journal journal = self.journal
        if (
            self.checkpoint is not None and not self._checkpoint_handed_over
            and self.checkpoint.newest_sequence <= journal.durable_sequence
        ):
            self._checkpoint_handed_over = True
            journal._housekeeper.write_checkpoint(self.checkpoint)
        return 0

    cdef int collect_checkpoint(self, object checkpoint, object obstacle) except -1:
        """Take note of how writing a checkpoint has ended."""
        cdef Journal journal = self.journal
        if obstacle is None:
            self.checkpoint_sequence = checkpoint.sequence
            self.checkpoint = None
            self._checkpoint_not_before = 0
        else:
            # The log is complete without it. The next segment brings a newer one, if this one stays impossible.
            self._checkpoint_not_before = journal.current.number + 1
            if not obstacle.is_full_disk:
                self.checkpoint = None
        return 0
