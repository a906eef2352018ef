"""Which segments of a journal are still needed, and how the others go.

Segments go when nothing in them is needed any more, in three steps that each wait for the one before to be durable: a
checkpoint, if they hold state; a mark in the log which says that they may be gone; and the removal of the files.

What became of a message is written behind it. So a segment stays as long as an older one does about whose messages it
may say something: where the owner does not tell, segments go strictly the oldest first. Out of those that are needed
for little, a ``Compactor`` has that little moved: the oldest first as well, and behind one that cannot be emptied those
that need not wait for it.
"""

cimport cython

from storage.checkpoint import Checkpoint
from storage.compactor import LIVING_RATIO_MAX, SEGMENTS_BEYOND
from storage.recovery import reclaimed_payload

from storage.journal cimport Journal
from storage.pthread cimport eventfd_write
from storage.record cimport KIND_RECLAIMED
from storage.segment cimport RECORD_UNIT_SIZE, Segment

cdef enum:
    # So many segments are looked at for each commit.
    SEGMENTS_PER_LOOK = 64
    # Nothing is moved while this much waits to be written.
    GATHERING_SIZE_MAX = 8 << 20

cdef unsigned long long NEVER = <unsigned long long>-1


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
        for segment in self.segments:
            # What became of its messages may stand in all that was written before this start.
            segment.settled_sequence = recovery.sequence

    cdef int go_on(self) except -1:
        """Do the next bit of what has to be done, and see whether there is more. For each time a commit has ended."""
        cdef Journal journal = self.journal
        if self._slices is not None and not journal._unit_open and not journal.failed and not journal._closing:
            self._take_slice()
        if self.compactor is not None and self.compactor.busy:
            self._compact()
        return self.reclaim()

    cdef int reclaim(self) except -1:
        """Let segments go, as far as they may."""
        cdef Journal journal = self.journal
        self.due = False
        if journal.failed or journal._closing:
            return 0
        self._hand_over_checkpoint()
        if self._marked is not None:
            if self._mark_batch > journal.durable_batch:
                return 0
            self._let_go()
        # With many segments, not all of them are looked at each time.
        if self._looks_skipped < len(self.segments) // SEGMENTS_PER_LOOK:
            self._looks_skipped += 1
            if not journal._in_flight and journal._batch.size == 0:
                # No commit comes that could bring the next look.
                eventfd_write(journal.completion_fd, 1)
        elif not journal._unit_open:
            self._looks_skipped = 0
            self._look()
        return 0

    cdef int _look(self) except -1:
        """See which segments are not needed, and mark them."""
        cdef Journal journal = self.journal
        cdef Segment segment, oldest = None
        cdef unsigned long long first_sequence = 0, needed = 0
        cdef long long log_bytes = journal.current.size, living_units = journal.current.live_units
        cdef list dispensable = []
        cdef Py_ssize_t place = 0
        # History is kept from some point on, without a gap.
        cdef Py_ssize_t may_go = self._count_dispensable() if journal.keeps_history else len(self.segments)
        for segment in self.segments:
            log_bytes += segment.size
            living_units += segment.live_units
            # What older segments need of it: the records of what became of their messages.
            if segment.live == 0 and (needed == 0 or needed < first_sequence) and place < min(self.unfinished, may_go):
                if segment.state_sequence <= self.checkpoint_sequence:
                    dispensable.append(segment)
                    log_bytes -= segment.size
                    first_sequence = segment.last_sequence + 1
                    place += 1
                    continue
                self._start_checkpoint()
            if oldest is None:
                oldest = segment
            if self.compactor is None or segment.superseded:
                needed = NEVER
            else:
                needed = max(needed, segment.settled_sequence)
            first_sequence = segment.last_sequence + 1
            place += 1
        if dispensable:
            self._mark(dispensable)
        if (
            self.compactor is not None and oldest is not None and oldest.live != 0 and not journal.keeps_history
            and log_bytes > SEGMENTS_BEYOND * journal._options.segment_size
            # What waits for a checkpoint only goes without having to be moved.
            and (self._checkpoint_not_before != 0 or (self._slices is None and self.checkpoint is None))
            and self.compactor.is_due(log_bytes, living_units * RECORD_UNIT_SIZE, journal._options.segment_size)
        ):
            self._begin_compaction()
        return 0

    def _begin_compaction(self):
        """Begin with the oldest segment, or with a sparse one that may go before those in front of it."""
        cdef Journal journal = self.journal
        cdef Segment segment
        cdef unsigned long long first_sequence = 0, needed = 0
        cdef bint is_first = True
        cdef Py_ssize_t place
        for place in range(min(self.unfinished, len(self.segments))):
            segment = self.segments[place]
            if segment.live != 0:
                if not is_first and needed >= first_sequence:
                    break
                if (
                    (is_first or segment.live_units * RECORD_UNIT_SIZE * LIVING_RATIO_MAX <= segment.size)
                    # On a full disk the copies take room that settlements need.
                    and (
                        journal._postponed.out_of_room() is None
                        or 2 * segment.live_units * RECORD_UNIT_SIZE <= journal._options.segment_size
                    )
                    and self.compactor.begin(segment, journal.current.number)
                ):
                    self._compact()
                    break
                is_first = False
            if not is_first:
                needed = NEVER if segment.superseded else max(needed, segment.settled_sequence)
            first_sequence = segment.last_sequence + 1

    cdef Py_ssize_t _count_dispensable(self) except -1:
        """Return how many of the oldest segments nobody needs, nor wants to keep."""
        cdef Journal journal = self.journal
        cdef Segment segment
        cdef Py_ssize_t dead_count = 0
        for segment in self.segments:
            if segment.live != 0:
                break
            dead_count += 1
        if journal._saves_room or journal._postponed.out_of_room() is not None:
            return dead_count
        return journal._retention.count(
            self.segments, dead_count, (journal.current, journal._next), journal._machine.time_us()
        )

    cdef int _mark(self, list dispensable) except -1:
        """Write that segments may be gone. The mark comes behind whatever made them dispensable."""
        cdef Journal journal = self.journal
        cdef set numbers = {segment.number for segment in dispensable}
        cdef list kept = [segment.number for segment in self.segments if segment.number not in numbers]
        kept.append(journal.current.number)
        # Older ones first: what became of their messages may stand in those that come later.
        self._marked = [segment.number for segment in dispensable]
        self.passed_over += sum([number > kept[0] for number in self._marked])
        payload = reclaimed_payload(kept, self.checkpoint_sequence)
        journal._append_mark(KIND_RECLAIMED, payload)
        self._mark_batch = journal.open_batch
        return 0

    cdef int _let_go(self) except -1:
        """Have the files removed of the segments of which it is on disk that they may go."""
        cdef Journal journal = self.journal
        cdef list numbers = self._marked
        self._marked = None
        for number in numbers:
            del self.by_number[number]
        self.segments = [segment for segment in self.segments if segment.number in self.by_number]
        if self.compactor is not None:
            self.compactor.forget(numbers)
        journal._fetcher.forget_files()
        self.unfinished -= len(numbers)
        journal._housekeeper.reclaim(numbers)
        return 0

    cdef int _compact(self) except -1:
        """Have what is needed of the oldest segment moved, one step at a time."""
        cdef Journal journal = self.journal
        if journal.failed or journal._closing or journal._unit_open or journal.stuck:
            return 0
        if journal._batch.size > GATHERING_SIZE_MAX:
            # The end of the commit that is on its way comes here again.
            return 0
        if self.compactor.step():
            eventfd_write(journal.completion_fd, 1)
        elif not self.compactor.busy:
            # The next segment is looked for at once.
            self._looks_skipped = len(self.segments)
        return 0

    def living_bytes(self):
        """Return how many bytes of the log are needed."""
        cdef Journal journal = self.journal
        return RECORD_UNIT_SIZE * (
            sum([segment.live_units for segment in self.segments]) + journal.current.live_units
        )

    def log_bytes(self):
        """Return how many bytes the log takes."""
        cdef Journal journal = self.journal
        return sum([segment.size for segment in self.segments]) + journal.current.size

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
