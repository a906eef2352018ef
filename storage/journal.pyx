"""The journal: append records, learn when they are durable, say which are no longer needed.

The owner appends units (one or more records that count only together) and calls ``commit`` at the end of each turn
of its event loop. Everything that was appended since the last commit is one batch, which the commit thread writes
and syncs while the next one gathers. ``completion_fd`` becomes readable when a batch is on disk.

Segments go when nothing in them is needed any more; ``storage.reclaimer`` sees to that.

A disk that is full ends nothing: what was to be written waits, nothing is confirmed meanwhile, and ``retry`` tries it
again. Any other error, and each failed sync of the log, is the journal's end.
"""

import logging
import os

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from storage.compactor import Compactor
from storage.checkpoint import Checkpoint
from storage.errors import JournalClosed, JournalFailed
from storage.housekeeper import Housekeeper
from storage.layout import segment_path
from storage.late_index import LateIndexes
from storage.machine import Machine
from storage.options import JournalOptions
from storage.postponed import Obstacle, Postponed
from storage.quarantine import Quarantine
from storage.record import PAYLOAD_SIZE_MAX as PAYLOAD_SIZE_MAX_
from storage.retention import Retention

from storage.committer cimport Batch, Committer, Extent
from storage.fetcher cimport Fetch, Fetcher
from storage.pthread cimport eventfd_read, eventfd_write
from storage.reclaimer cimport Reclaimer
from storage.record cimport (
    FLAG_UNIT_ENDS, KIND_MARK_MIN, KIND_SEALED, KIND_STATE_MIN, KIND_STOPPED, KIND_VOLATILE_MIN,
    RECORD_HEADER_SIZE, RecordHeader, record_size,
)
from storage.segment cimport Segment

logger = logging.getLogger(__name__)

cdef enum:
    SEGMENT_HEADER_SIZE = 64

cdef Py_ssize_t PAYLOAD_SIZE_MAX = PAYLOAD_SIZE_MAX_


@cython.final
cdef class Journal:
    """The log of one directory, open for writing.

    ``recovery`` has read the directory; its repairs are carried out here, which is the only file work done on the
    caller's thread. ``durable(batch)`` and ``failed(error)`` are called from ``on_commit_finished`` and ``close``,
    ``fetched(fetch)`` from the former, with what ``fetch`` has asked for, and ``room()`` when ``out_of_room`` or
    ``taken_bytes`` has changed. ``snapshot()`` is a generator that encodes
    the owner's whole state, one slice each time it is resumed, and returns the pieces; without it, segments with state
    records stay. A slice is taken in each call of ``on_commit_finished``, and the state may change between two: each
    part of it may be as it was at any time since the generator was made, as the state records since then are replayed
    over it. With a ``replayer``, sealed segments get an index, of which it writes the summaries. Threads, time and
    chance are those of the ``machine``; ``disk`` takes the place of its disk.

    Raises OSError if the directory cannot be repaired. All methods are for one thread.
    """

    def __init__(
        self, recovery, *, durable, failed, snapshot=None, fetched=None, room=None, replayer=None, options=None,
        disk=None, machine=None
    ):
        recovery.apply()
        self._directory = recovery.directory
        self._options = options or JournalOptions()
        self._durable_callback = durable
        self._failed_callback = failed
        self._fetched_callback = fetched
        self._room_callback = room
        self._epoch = recovery.epoch + 1
        self.sequence = self.durable_sequence = recovery.sequence
        self.open_batch = 1
        self._batch = Batch()
        self._other = Batch()
        self._postponed = Postponed()
        self._retention = Retention(self._options)
        self.keeps_history = self._retention.is_on
        self._reclaimer = Reclaimer(self, recovery, snapshot)

        self.completion_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        machine = machine or Machine()
        self._machine = machine
        disk = disk or machine.disk
        self._committer = machine.committer(disk, self.completion_fd, recovery.sequence)
        self._committer.start()
        self._fetcher = machine.fetcher(disk, self._directory, self.completion_fd)
        self._fetcher.start()
        self._housekeeper = Housekeeper(
            machine, recovery.filesystem, self._directory, self._options, self._epoch, self._committer, self._notify()
        )
        self._indexes = LateIndexes(self._housekeeper, replayer)
        self._housekeeper.adopt(recovery.spares)
        self._capacity = self._options.segment_size if recovery.spares else self._options.first_segment_size
        self.current = Segment(recovery.next_number, self._epoch)
        self._next = Segment(recovery.next_number + 1, self._epoch)
        self._housekeeper.prepare(self.current, self._capacity, self.durable_sequence)
        self._housekeeper.prepare(self._next, self._options.segment_size, self.durable_sequence)
        self._begin_segment()
        # Behind the reserve, which comes with the first segments: an index can be done without.
        for segment in recovery.unindexed:
            self._indexes.write(segment)
        self._filesystem = recovery.filesystem
        self._quarantine = Quarantine(machine, recovery.filesystem, self._directory, self._notify())

    def compact_with(self, mover):
        """Have ``mover`` move what is needed out of old segments, as ``storage.compactor.Mover`` says.

        The owner then tells by ``settled_sequence`` and ``supersede`` of segments what they need of later ones.
        """
        self._reclaimer.compactor = Compactor(mover, self._machine, self._filesystem, self._directory, self._notify())

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
        if self.reserved == 0:
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
            and self.current.size + size + RECORD_HEADER_SIZE > self.current.capacity
        ):
            self._roll_over()
        self._batch.make_room(size)
        header = <RecordHeader *>(self._batch.data + self._batch.size)
        header.payload_size = <uint32_t>payload_size
        header.kind = kind
        self.reserved = size
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
        memset(<unsigned char *>header + end, 0, self.reserved - end)
        batch.size += self.reserved
        batch.extents[batch.extent_count - 1].end = batch.size
        segment.size += self.reserved
        segment.last_sequence = self.sequence
        if not KIND_VOLATILE_MIN <= header.kind < KIND_STATE_MIN:
            batch.urgent = True
        if KIND_STATE_MIN <= header.kind < KIND_MARK_MIN:
            segment.state_sequence = self.sequence
        self.reserved = 0
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
        self.reserved = RECORD_HEADER_SIZE
        self._finish_record(0)
        self.current.sealed = True
        self._reclaimer.segments.append(self.current)
        self.current = self._next
        self._next = Segment(self.current.number + 1, self._epoch)
        self._capacity = self._options.segment_size
        self._housekeeper.prepare(self._next, self._capacity, self.durable_sequence)
        self._begin_segment()
        return 0

    def _begin_segment(self):
        self.current.size = SEGMENT_HEADER_SIZE
        self._reclaimer.by_number[self.current.number] = self.current
        self._batch.begin_extent(self.current, SEGMENT_HEADER_SIZE)

    # Which segments are needed

    cpdef void retain(self, Segment segment, unsigned int units=0) noexcept:
        """Count one more who needs a record of a segment; ``units`` are his share of it, in units of 8 bytes."""
        segment.live += 1
        segment.live_units += units

    cpdef void release(self, Segment segment, unsigned int units=0) noexcept:
        """Count one less.

        The segment stays at least until everything is durable that was appended in this turn of the event loop.
        """
        segment.live -= 1
        segment.live_units -= units

    # Reading back

    cpdef Segment segment(self, unsigned long long number):
        """Return the segment of a number. Raises KeyError if it is gone."""
        return self._reclaimer.by_number[number]

    cpdef Segment find_segment(self, unsigned long long number):
        """Return the segment of a number, None if it is gone."""
        return self._reclaimer.by_number.get(number)

    cpdef bint fetch(self, Fetch fetch) except -1:
        """Have records read back that are needed and written. Returns False if too much is being read already."""
        self.add_sources(fetch)
        return self._fetcher.submit(fetch)

    cpdef int add_sources(self, Fetch fetch) except -1:
        """Tell a fetch what it has to know of the segments."""
        cdef Py_ssize_t index
        cdef uint64_t number
        for index in range(fetch.work.count):
            number = fetch.work.items[index].location >> 32
            if not fetch.knows(number):
                fetch.add_source(self._reclaimer.by_number[number])
        return 0

    @property
    def directory(self):
        """Where the journal is."""
        return self._directory

    def quarantine(self, number, offset, size):
        """Keep a copy of a damaged record, so that its segment may go."""
        self._quarantine.keep(self.segment(number), offset, size)

    @property
    def checkpoint_sequence(self):
        """The sequence of the last checkpoint that is on disk, 0 without one."""
        return self._reclaimer.checkpoint_sequence

    # Committing

    @property
    def gathering_bytes(self):
        """How many bytes wait to be handed to the commit thread."""
        return self._batch.size

    @property
    def in_flight_seconds(self):
        """For how long the commit thread has been at work on its batch; 0 if it has none."""
        return self._committer.in_flight_ns() / 1e9 if self._in_flight and not self.stuck else 0.0

    @property
    def in_flight_work(self):
        """What the commit thread is doing just now, for people: "syncing" and a file."""
        cdef Segment segment
        if not self._in_flight or self.stuck or self._committer.failed_operation == NULL:
            return ""
        # The thread may have gone on in between; one of the two files is as good as the other.
        segment = self._other.segments[min(self._committer.failed_extent, len(self._other.segments) - 1)]
        return f"{self._committer.failed_operation.decode()} {segment_path(self._directory, segment.number)}"

    cpdef bint commit(self) except -1:
        """Hand what was gathered to the commit thread, unless it is at work or a unit has not ended.

        For the end of every turn of the event loop. Returns whether something was handed over.
        """
        if self._reclaimer.due:
            self._reclaimer.reclaim()
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
        for fetch in self._fetcher.take_finished():
            self._fetched_callback(fetch)
        self._collect_outcomes()
        if self._in_flight and self._committer.finished():
            self._complete()
        self._tell_room()
        self._reclaimer.go_on()
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
        cdef Extent *extent
        cdef int index
        self._committer.take_back()
        if self._committer.out_of_room and not self.failed:
            segment = batch.segments[self._committer.failed_extent]
            batch.first_extent = self._committer.failed_extent
            self.stuck = True
            self._postpone(batch, Obstacle(
                segment_path(self._directory, segment.number),
                self._committer.failed_operation.decode(),
                self._committer.error,
            ), self._resubmit)
            return 0
        self._in_flight = False
        if self._committer.error != 0 or self.failed:
            if not self.failed:
                segment = batch.segments[self._committer.failed_extent]
                path = segment_path(self._directory, segment.number)
                self._fail(path, self._committer.failed_operation.decode(), self._committer.error)
            batch.clear()
            return 0
        self._postponed.remove(batch)
        self.durable_batch = batch.number
        self.durable_sequence = self._committer.durable
        for index in range(batch.extent_count):
            extent = &batch.extents[index]
            segment = batch.segments[index]
            segment.written_size = extent.offset + (extent.end - extent.start)
        batch.clear()
        self._finish_segments()
        if self._batch.size > 0 and not self._unit_open:
            self._submit()
        self._durable_callback(self.durable_batch)
        return 0

    cdef int _fail(self, object file, str operation, int error) except -1:
        self.failed = True
        self.error = JournalFailed(file, operation, error)
        self._failed_callback(self.error)
        return 0

    cdef int _finish_segments(self) except -1:
        cdef Segment segment
        cdef Reclaimer kept = self._reclaimer
        while kept.unfinished < len(kept.segments):
            segment = kept.segments[kept.unfinished]
            if segment.last_sequence > self.durable_sequence:
                break
            self._housekeeper.finish(segment)
            self._indexes.add(segment)
            self._indexes.write_behind(self.current.number)
            kept.unfinished += 1
        return 0

    # A full disk, and file work that failed

    @property
    def out_of_room(self):
        """What the disk is too full for, as an ``Obstacle``; None while there is room."""
        return self._postponed.out_of_room()

    @property
    def obstacles(self):
        """All that failed and will be tried again."""
        return self._postponed.obstacles()

    @property
    def taken_bytes(self):
        """How much room files have taken since the start, without that which a single large message or an index took."""
        return self._housekeeper.taken_bytes

    def _tell_room(self):
        room = (self.taken_bytes, self.out_of_room is None)
        if room != self._room and self._room_callback is not None:
            self._room = room
            self._room_callback()

    def retry(self):
        """Try again what the disk had no room for, and what else was put off. For now and then while there is any."""
        if not self._closed and not self.failed:
            self._postponed.retry()

    def save_room(self, bint low):
        """Keep as few spare files as possible while the disk is nearly full (``low``), or as many as usual."""
        if self._saves_room != low:
            self._saves_room = low
            self._housekeeper.save_room(low)
            self.reconsider()

    def reconsider(self):
        """Look again at what is only kept for a while. For now and then, as there may be no commits."""
        if self.keeps_history and not self._closed:
            eventfd_write(self.completion_fd, 1)

    def _resubmit(self):
        self.stuck = False
        self._committer.submit(self._other)

    def _postpone(self, subject, obstacle, again):
        if self._postponed.add(subject, obstacle, again):
            self.housekeeping_failures += subject is not self._other

    cdef int _collect_outcomes(self) except -1:
        self._quarantine.collect()
        while self._housekeeper.outcomes:
            subject, obstacle, again = self._housekeeper.outcomes.popleft()
            if isinstance(subject, Checkpoint):
                if subject is not self._reclaimer.checkpoint:
                    continue  # a newer one has taken its place
                self._reclaimer.collect_checkpoint(subject, obstacle)
            if obstacle is None:
                self._postponed.remove(subject)
            elif again is not None:
                # Of segments only those for which there is no room: another error is the end once one is needed.
                if obstacle.is_full_disk or not isinstance(subject, (Segment, Checkpoint)):
                    self._postpone(subject, obstacle, again)
                else:
                    self._postponed.remove(subject)
                    self.housekeeping_failures += 1
                    logger.error("%s", obstacle)
            elif not self.failed:
                self._fail(obstacle.file, obstacle.operation, obstacle.errno)
        return 0

    # The end

    def close(self):
        """Commit everything, mark the log as cleanly stopped, and end the threads. The callbacks are still called.

        What a full disk has no room for is tried once more, and then lost; none of it was confirmed.
        """
        if self._closed:
            return
        self._closing = True
        if self._flush() and not self._unit_open:
            # In a batch of its own, so that it is the proof that everything before had been on disk.
            self._append_mark(KIND_STOPPED, b"")
            if self._flush():
                self._indexes.write_behind(self.current.number, 1)
                self._indexes.write(self.current)
        if self.stuck:
            lost = self._other.size + self._batch.size
            logger.error("closed without room: %d bytes that were not confirmed are lost", lost)
        self._shut()

    def abandon(self):
        """End the threads after the batch in flight and leave everything else as a crash would."""
        if not self._closed:
            self._closing = True
            self._shut()

    cdef bint _flush(self) except -1:
        """Commit everything. Returns whether that was possible."""
        cdef bint tried_again = False
        while not self.failed and (self._in_flight or self._batch.size > 0):
            if self.stuck:
                if tried_again:
                    return False
                tried_again = True
                self.retry()
            elif not self._in_flight:
                self._submit()
            self._committer.wait()
            self._collect_outcomes()
            self._complete()
        return not self.failed

    cdef int _shut(self) except -1:
        self._closed = True
        self._committer.stop()
        self._fetcher.stop()
        self._quarantine.stop()
        self._housekeeper.stop()
        if self._reclaimer.compactor is not None:
            self._reclaimer.compactor.stop()
        for _, obstacle, _ in self._housekeeper.outcomes:
            if obstacle is not None:
                logger.warning("%s", obstacle)
        os.close(self.completion_fd)
        self.completion_fd = -1
        return 0

    @property
    def pending_batch(self):
        """The number of the batch that has the last record, as long as it is not on disk; then 0."""
        cdef unsigned long long last = self.open_batch if self._batch.size > 0 else self.open_batch - 1
        return last if last > self.durable_batch else 0

    # For the metrics

    @property
    def living_bytes(self):
        """How many bytes of the log are needed."""
        return self._reclaimer.living_bytes()

    @property
    def log_bytes(self):
        """How many bytes the log takes, without what is prepared for later."""
        return self._reclaimer.log_bytes()

    @property
    def compacted_bytes(self):
        """How many bytes were copied so that old segments could go."""
        return self._reclaimer.compactor.moved_bytes if self._reclaimer.compactor is not None else 0

    @property
    def segments_passed_over(self):
        """How many segments went before older ones."""
        return self._reclaimer.passed_over

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
        return len(self._reclaimer.segments) + 1

    def segments(self):
        """Return all segments that hold the log, oldest first."""
        return [*self._reclaimer.segments, self.current]

    def sealed_segments(self):
        """Return the numbers of the segments to which nothing is added, and which are on disk. For any thread."""
        return [segment.number for segment in self._reclaimer.segments[:self._reclaimer.unfinished]]

    @property
    def live_record_count(self):
        """How many needs of records there are: those of messages, once for each queue that holds one."""
        return sum([segment.live for segment in self._reclaimer.segments]) + self.current.live

    def sync_histogram(self):
        """Return how many syncs took less than so many seconds, as (seconds, count) with counts not cumulated."""
        return self._committer.sync_histogram()
