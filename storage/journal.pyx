"""The journal: append records, learn when they are durable, say which are no longer needed.

The owner appends units (one or more records that count only together) and calls ``commit`` at the end of each turn
of its event loop. Everything that was appended since the last commit is one batch, which the commit thread writes
and syncs while the next one gathers. ``completion_fd`` becomes readable when a batch is on disk.

Segments go when nothing in them is needed any more, the oldest first, in three steps that each wait for the one
before to be durable: a checkpoint, if they hold state; a mark in the log which says that they may be gone; and the
removal of the files.
"""

import logging
import os
import threading

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from storage.checkpoint import Checkpoint
from storage.disk import Disk
from storage.errors import JournalClosed, JournalFailed
from storage.housekeeper import Housekeeper
from storage.layout import segment_path
from storage.options import JournalOptions
from storage.record import PAYLOAD_SIZE_MAX as PAYLOAD_SIZE_MAX_
from storage.recovery import RECLAIMED_PAYLOAD

from storage.committer cimport SYNC_BUCKETS, Batch, Committer
from storage.record cimport (
    FLAG_UNIT_ENDS, KIND_MARK_MIN, KIND_RECLAIMED, KIND_SEALED, KIND_STATE_MIN, KIND_STOPPED, RECORD_HEADER_SIZE,
    RecordHeader, record_size,
)
from storage.segment cimport Segment


cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd_read(int, uint64_t *)


logger = logging.getLogger(__name__)

cdef enum:
    SEGMENT_HEADER_SIZE = 64
    SYNC_BUCKET_MIN_NS = 16000

cdef Py_ssize_t PAYLOAD_SIZE_MAX = PAYLOAD_SIZE_MAX_


@cython.final
cdef class Journal:
    """The log of one directory, open for writing.

    ``recovery`` has read the directory; its repairs are carried out here, which is the only file work done on the
    caller's thread. ``durable(batch)`` and ``failed(error)`` are called from ``on_commit_finished`` and ``close``.
    ``snapshot()`` returns the owner's whole state as bytes; without it, segments with state records stay.

    Raises OSError if the directory cannot be repaired. All methods are for one thread.
    """

    def __init__(self, recovery, *, durable, failed, snapshot=None, options=None, disk=None):
        recovery.apply()
        self._directory = recovery.directory
        self._options = options or JournalOptions()
        self._durable_callback = durable
        self._failed_callback = failed
        self._snapshot = snapshot
        self._epoch = recovery.epoch + 1
        self.sequence = self.durable_sequence = recovery.sequence
        self.checkpoint_sequence = recovery.checkpoint_sequence
        self.open_batch = 1
        self._batch = Batch()
        self._other = Batch()
        self._segments = list(recovery.segments)
        self._unfinished = len(self._segments)
        self._reclaim_due = True

        self.completion_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._committer = Committer(disk or Disk(), self.completion_fd, recovery.sequence)
        self._thread = threading.Thread(target=self._committer.run, name="journal-commit", daemon=True)
        self._thread.start()
        self._housekeeper = Housekeeper(
            recovery.filesystem, self._directory, self._options, self._epoch, self._committer, self._notify()
        )
        self._housekeeper.adopt(recovery.spares)
        self._capacity = self._options.segment_size if recovery.spares else self._options.first_segment_size
        self.current = Segment(recovery.next_number)
        self._next = Segment(recovery.next_number + 1)
        self._housekeeper.prepare(self.current, self._capacity, self.durable_sequence)
        self._housekeeper.prepare(self._next, self._options.segment_size, self.durable_sequence)
        self._begin_segment()

    def _notify(self):
        descriptor = self.completion_fd
        return lambda: os.eventfd_write(descriptor, 1)

    # Appending

    cdef unsigned char *reserve(self, unsigned char kind, Py_ssize_t payload_size) except NULL:
        """Return where to write the payload of a record; ``seal`` comes next, and nothing else in between.

        Raises JournalFailed, JournalClosed, and ValueError for a kind or a size that no record can have.
        """
        if self.failed:
            raise self.error
        if self._closed:
            raise JournalClosed("the journal is closed")
        if payload_size < 0 or payload_size > PAYLOAD_SIZE_MAX or kind >= KIND_MARK_MIN:
            raise ValueError(f"no record has kind {kind} and {payload_size} bytes")
        return self._write_header(kind, payload_size)

    cdef unsigned long long seal(self, bint unit_ends) except? 0:
        """Finish the record that was reserved and return its sequence. ``unit_ends``: it is the last of its unit."""
        if self._reserved == 0:
            raise RuntimeError("no record was reserved")
        self._unit_open = not unit_ends
        return self._finish_record(FLAG_UNIT_ENDS if unit_ends else 0)

    cpdef unsigned long long append(self, unsigned char kind, bytes payload, bint unit_ends=True) except? 0:
        """Append one record and return its sequence. Raises as ``reserve`` does."""
        cdef Py_ssize_t size = len(payload)
        memcpy(self.reserve(kind, size), <const char *>payload, size)
        return self.seal(unit_ends)

    cdef unsigned char *_write_header(self, unsigned char kind, Py_ssize_t payload_size) except NULL:
        cdef Py_ssize_t size = record_size(payload_size)
        cdef RecordHeader *header
        # Room for the mark that seals the segment is always left. A record larger than a segment gets one to itself,
        # which grows.
        if (
            self.current.size + size + RECORD_HEADER_SIZE > self._capacity
            and self.current.size > SEGMENT_HEADER_SIZE
        ):
            self._roll_over()
        self._batch.make_room(size)
        header = <RecordHeader *>(self._batch.data + self._batch.size)
        header.payload_size = <uint32_t>payload_size
        header.kind = kind
        self._reserved = size
        return <unsigned char *>header + RECORD_HEADER_SIZE

    cdef unsigned long long _finish_record(self, unsigned char flags) noexcept:
        cdef Batch batch = self._batch
        cdef Segment segment = self.current
        cdef RecordHeader *header = <RecordHeader *>(batch.data + batch.size)
        cdef Py_ssize_t end = RECORD_HEADER_SIZE + header.payload_size
        self.sequence += 1
        header.sequence = self.sequence
        header.epoch = self._epoch
        header.flags = flags
        memset(<unsigned char *>header + end, 0, self._reserved - end)
        batch.size += self._reserved
        batch.extents[batch.extent_count - 1].end = batch.size
        segment.size += self._reserved
        segment.last_sequence = self.sequence
        if KIND_STATE_MIN <= header.kind < KIND_MARK_MIN:
            segment.state_sequence = self.sequence
        self._reserved = 0
        return self.sequence

    cdef int _append_mark(self, unsigned char kind, bytes payload) except -1:
        memcpy(self._write_header(kind, len(payload)), <const char *>payload, len(payload))
        self._finish_record(0)
        return 0

    cdef int _roll_over(self) except -1:
        """Seal the current segment and go on in the next one, whether its file is ready yet or not."""
        self._batch.make_room(RECORD_HEADER_SIZE)
        cdef RecordHeader *header = <RecordHeader *>(self._batch.data + self._batch.size)
        header.payload_size = 0
        header.kind = KIND_SEALED
        self._reserved = RECORD_HEADER_SIZE
        self._finish_record(0)
        self.current.sealed = True
        self._segments.append(self.current)
        self.current = self._next
        self._next = Segment(self.current.number + 1)
        self._capacity = self._options.segment_size
        self._housekeeper.prepare(self._next, self._capacity, self.durable_sequence)
        self._begin_segment()
        return 0

    def _begin_segment(self):
        self.current.size = SEGMENT_HEADER_SIZE
        self._batch.begin_extent(self.current, SEGMENT_HEADER_SIZE)

    # Which segments are needed

    cpdef void retain(self, Segment segment) noexcept:
        """Count one more record of a segment that is needed."""
        segment.live += 1

    cpdef void release(self, Segment segment) noexcept:
        """Count one record less that is needed.

        The segment stays at least until everything is durable that was appended in this turn of the event loop.
        """
        segment.live -= 1

    # Committing

    @property
    def gathering_bytes(self):
        """How many bytes wait to be handed to the commit thread."""
        return self._batch.size

    @property
    def in_flight_seconds(self):
        """For how long the commit thread has been at work on its batch; 0 if it has none."""
        return self._committer.in_flight_ns() / 1e9 if self._in_flight else 0.0

    cpdef bint commit(self) except -1:
        """Hand what was gathered to the commit thread, unless it is at work or a unit has not ended.

        For the end of every turn of the event loop. Returns whether something was handed over.
        """
        if self._reclaim_due:
            self._reclaim()
        if self._in_flight or self._batch.size == 0 or self._unit_open or self.failed or self._closed:
            return False
        self._submit()
        return True

    cpdef object on_commit_finished(self):
        """Take note of what the threads finished. For when ``completion_fd`` is readable."""
        cdef uint64_t count
        if self._closed:
            return
        eventfd_read(self.completion_fd, &count)
        self._collect_checkpoint()
        if self._in_flight and self._committer.finished():
            self._complete()
        self._reclaim()
        self.commit()

    cdef int _submit(self) except -1:
        cdef Batch batch = self._batch
        batch.number = self.open_batch
        self._batch = self._other
        self._other = batch
        self.open_batch += 1
        self._batch.begin_extent(self.current, self.current.size)
        self._in_flight = True
        self._committer.submit(batch)
        return 0

    cdef int _complete(self) except -1:
        """End the commit of the batch in flight, begin that of the next, and tell the owner."""
        cdef Batch batch = self._other
        cdef Segment segment
        self._committer.take_back()
        self._in_flight = False
        if self._committer.error != 0:
            segment = batch.segments[self._committer.failed_extent]
            self.failed = True
            self.error = JournalFailed(
                segment_path(self._directory, segment.number),
                self._committer.failed_operation.decode(),
                self._committer.error,
            )
            batch.clear()
            self._failed_callback(self.error)
            return 0
        self.durable_batch = batch.number
        self.durable_sequence = self._committer.durable
        batch.clear()
        self._finish_segments()
        if self._batch.size > 0 and not self._unit_open:
            self._submit()
        self._durable_callback(self.durable_batch)
        return 0

    cdef int _finish_segments(self) except -1:
        cdef Segment segment
        while self._unfinished < len(self._segments):
            segment = self._segments[self._unfinished]
            if segment.last_sequence > self.durable_sequence:
                break
            self._housekeeper.finish(segment)
            self._unfinished += 1
        return 0

    # Letting segments go

    cdef int _reclaim(self) except -1:
        cdef Segment segment
        cdef list numbers
        cdef int ready_count = 0
        self._reclaim_due = False
        if self.failed or self._closing:
            return 0
        self._hand_over_checkpoint()
        if self._mark_batch != 0:
            if self._mark_batch > self.durable_batch:
                return 0
            numbers = [kept.number for kept in self._segments if kept.number < self._mark_number]
            del self._segments[:len(numbers)]
            self._unfinished -= len(numbers)
            self._mark_batch = 0
            self._housekeeper.reclaim(numbers)
        if self._unit_open:
            return 0
        for segment in self._segments:
            if segment.live != 0:
                break
            if segment.state_sequence > self.checkpoint_sequence:
                self._start_checkpoint()
                break
            ready_count += 1
        if ready_count > 0:
            # The mark comes behind whatever made the segments dispensable, and the log becomes durable in order.
            segment = self._segments[ready_count - 1]
            self._mark_number = segment.number + 1
            self._append_mark(KIND_RECLAIMED, RECLAIMED_PAYLOAD.pack(self._mark_number, self.checkpoint_sequence))
            self._mark_batch = self.open_batch
        return 0

    cdef int _start_checkpoint(self) except -1:
        if (
            self._checkpoint is not None or self._snapshot is None
            or self.current.number < self._checkpoint_not_before
        ):
            return 0
        self._checkpoint = Checkpoint(self.sequence, self._epoch, self._snapshot())
        self._checkpoint_handed_over = False
        return self._hand_over_checkpoint()

    cdef int _hand_over_checkpoint(self) except -1:
        """Have the checkpoint written as soon as everything that it stands for is on disk."""
        if (
            self._checkpoint is not None and not self._checkpoint_handed_over
            and self._checkpoint.sequence <= self.durable_sequence
        ):
            self._checkpoint_handed_over = True
            self._housekeeper.write_checkpoint(self._checkpoint)
        return 0

    cdef int _collect_checkpoint(self) except -1:
        while self._housekeeper.outcomes:
            sequence, error = self._housekeeper.outcomes.popleft()
            self._checkpoint = None
            if error is None:
                self.checkpoint_sequence = sequence
            else:
                # The log is complete without it. The next try comes with the next segment.
                logger.error("writing checkpoint %d failed: %s", sequence, error)
                self._checkpoint_not_before = self.current.number + 1
        return 0

    # The end

    def close(self):
        """Commit everything, mark the log as cleanly stopped, and end the threads. The callbacks are still called."""
        if self._closed:
            return
        self._closing = True
        self._flush()
        if not self.failed and not self._unit_open:
            # In a batch of its own, so that it is the proof that everything before had been on disk.
            self._append_mark(KIND_STOPPED, b"")
            self._flush()
        self._shut()

    def abandon(self):
        """End the threads after the batch in flight and leave everything else as a crash would."""
        if not self._closed:
            self._closing = True
            self._shut()

    cdef int _flush(self) except -1:
        while not self.failed and (self._in_flight or self._batch.size > 0):
            if not self._in_flight:
                self._submit()
            self._committer.wait()
            self._complete()
        return 0

    cdef int _shut(self) except -1:
        self._closed = True
        self._committer.stop()
        self._thread.join()
        self._housekeeper.stop()
        os.close(self.completion_fd)
        self.completion_fd = -1
        return 0

    @property
    def pending_batch(self):
        """The number of the batch that has the last record, as long as it is not on disk; then 0."""
        if self.sequence == self.durable_sequence:
            return 0
        return self.open_batch if self._batch.size > 0 else self.open_batch - 1

    # For the metrics

    @property
    def sync_count(self):
        """How many syncs there were."""
        return self._committer.sync_count

    @property
    def sync_seconds(self):
        """How long all syncs took together."""
        return self._committer.sync_ns / 1e9

    @property
    def last_sync_seconds(self):
        """How long the last sync took."""
        return self._committer.last_sync_ns / 1e9

    @property
    def batch_count(self):
        """How many batches were committed."""
        return self._committer.batch_count

    @property
    def bytes_written(self):
        """How many bytes were committed."""
        return self._committer.bytes_written

    @property
    def segment_count(self):
        """How many segments hold the log."""
        return len(self._segments) + 1

    def sealed_segments(self):
        """Return the numbers of the segments to which nothing is added, and which are on disk. For any thread."""
        return [segment.number for segment in self._segments[:self._unfinished]]

    @property
    def live_record_count(self):
        """How many records of messages are still needed."""
        return sum([segment.live for segment in self._segments]) + self.current.live

    def sync_histogram(self):
        """Return how many syncs took less than so many seconds, as (seconds, count) with counts not cumulated."""
        cdef int bucket
        histogram = []
        for bucket in range(SYNC_BUCKETS - 1):
            histogram.append(((<uint64_t>SYNC_BUCKET_MIN_NS << bucket) / 1e9, self._committer.sync_buckets[bucket]))
        histogram.append((float("inf"), self._committer.sync_buckets[SYNC_BUCKETS - 1]))
        return histogram
