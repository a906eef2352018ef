"""The commit thread: it writes one batch after the other to disk, and never holds the interpreter's lock.

The event loop gathers records in one batch while the thread writes another. It computes the checksums too, so that
the loop pays for copying a message once and for nothing else. A batch that goes over the end of a segment is
written segment by segment, each synced before the next is touched: whoever finds a record in a segment knows that
all segments before are complete.
"""

from libc.errno cimport EDQUOT, ENOSPC
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc, realloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from storage.disk cimport Disk
from storage.pthread cimport (
    eventfd_write, pthread_cond_broadcast, pthread_cond_wait, pthread_mutex_lock, pthread_mutex_unlock,
)
from storage.record cimport finish_records
from storage.segment cimport Segment, SegmentFile
from storage.worker cimport Worker


cdef extern from "<errno.h>" nogil:
    int ECANCELED


cdef inline bint is_full_disk(int error) noexcept nogil:
    return error == ENOSPC or error == EDQUOT


cdef class Batch:
    """Records in a row, and which parts of them go where."""

    def __cinit__(self):
        self.segments = []

    def __dealloc__(self):
        free(self.data)
        free(self.extents)

    cdef int make_room(self, Py_ssize_t size) except -1:
        """Have room for ``size`` more bytes. Moves the data."""
        cdef Py_ssize_t needed = self.size + size
        cdef Py_ssize_t capacity
        cdef unsigned char *data
        if needed > self.capacity:
            capacity = max(needed, 2 * self.capacity, BATCH_SIZE_MIN)
            data = <unsigned char *>realloc(self.data, capacity)
            if data == NULL:
                raise MemoryError
            self.data = data
            self.capacity = capacity
        return 0

    cdef int begin_extent(self, Segment segment, long long offset) except -1:
        """Let what comes now go into ``segment`` from ``offset`` on."""
        cdef Extent *extents
        cdef Extent *extent
        if self.extent_count == self.extent_capacity:
            extents = <Extent *>realloc(self.extents, (self.extent_capacity + 8) * sizeof(Extent))
            if extents == NULL:
                raise MemoryError
            self.extents = extents
            self.extent_capacity += 8
        self.segments.append(segment)
        extent = &self.extents[self.extent_count]
        extent.file = &segment.file
        extent.start = extent.end = self.size
        extent.offset = offset
        self.extent_count += 1
        return 0

    cdef void clear(self) noexcept:
        """Forget the records, and the memory of a batch that was unusually large."""
        self.size = 0
        self.extent_count = 0
        self.urgent = False
        self.first_extent = 0
        self.segments.clear()
        if self.capacity > BATCH_SIZE_KEPT:
            free(self.data)
            self.data = NULL
            self.capacity = 0


cdef class Committer(Worker):
    """Writes batches in its own thread and tells by an eventfd when one is on disk.

    ``completion`` is that eventfd, ``durable`` the last sequence that is on disk already. One batch at a time. It
    stops after the batch that it has, without waiting for files that are not there yet.
    """

    THREAD_NAME = "journal-commit"

    def __cinit__(self, Disk disk not None, int completion, uint64_t durable):
        self.disk = disk
        self.completion = completion
        self.durable = durable
        self.state = IDLE

    cdef bint submit(self, Batch batch) noexcept:
        """Hand a batch over; it belongs to the thread until it is taken back."""
        self.batch = batch
        self.submitted_ns = self.now_ns()
        pthread_mutex_lock(&self.mutex)
        self.state = SUBMITTED
        pthread_mutex_unlock(&self.mutex)
        pthread_cond_broadcast(&self.changed)
        return True

    cdef bint finished(self) noexcept:
        """Say whether the batch that was submitted is finished, for good or for bad."""
        cdef bint answer
        pthread_mutex_lock(&self.mutex)
        answer = self.state == FINISHED
        pthread_mutex_unlock(&self.mutex)
        return answer

    cdef void take_back(self) noexcept:
        """End the commit of a batch that is finished."""
        pthread_mutex_lock(&self.mutex)
        self.state = IDLE
        pthread_mutex_unlock(&self.mutex)
        self.batch = None
        self.submitted_ns = 0

    cdef void wait(self) noexcept:
        """Wait, with the event loop standing still, until the batch that was submitted is finished."""
        with nogil:
            pthread_mutex_lock(&self.mutex)
            while self.state == SUBMITTED:
                pthread_cond_wait(&self.changed, &self.mutex)
            pthread_mutex_unlock(&self.mutex)

    cdef uint64_t in_flight_ns(self) noexcept:
        """Return for how long the batch that was submitted has not been taken back."""
        return self.now_ns() - self.submitted_ns

    cpdef void provide(self, Segment segment, int descriptor, unsigned int seed, int error) noexcept:
        """Tell the commit thread where to write the records of a segment, or why it cannot."""
        pthread_mutex_lock(&self.mutex)
        segment.file.descriptor = descriptor
        segment.file.seed = seed
        segment.file.error = error
        segment.file.ready = True
        pthread_cond_broadcast(&self.changed)
        pthread_mutex_unlock(&self.mutex)

    cpdef list sync_histogram(self):
        """Return how many syncs took less than so many seconds, as (seconds, count) with counts not cumulated."""
        cdef int bucket
        bounds = [(<uint64_t>SYNC_BUCKET_MIN_NS << bucket) / 1e9 for bucket in range(SYNC_BUCKETS - 1)]
        return list(zip([*bounds, float("inf")], self.sync_buckets))

    cdef uint64_t now_ns(self) noexcept nogil:
        """Return the time by a clock that nobody sets."""
        cdef timespec moment
        clock_gettime(CLOCK_MONOTONIC, &moment)
        return <uint64_t>moment.tv_sec * 1000000000 + <uint64_t>moment.tv_nsec

    cpdef void withdraw(self, Segment segment) noexcept:
        """Let the commit thread wait for a segment's file again: another try is made to prepare it."""
        pthread_mutex_lock(&self.mutex)
        segment.file.ready = False
        pthread_mutex_unlock(&self.mutex)

    cdef void _run(self) noexcept nogil:
        while True:
            pthread_mutex_lock(&self.mutex)
            while self.state != SUBMITTED and not self.stopping:
                pthread_cond_wait(&self.changed, &self.mutex)
            if self.state != SUBMITTED:
                pthread_mutex_unlock(&self.mutex)
                return
            pthread_mutex_unlock(&self.mutex)
            self._commit_submitted()

    cdef void _commit_submitted(self) noexcept nogil:
        self._commit()
        pthread_mutex_lock(&self.mutex)
        self.state = FINISHED
        pthread_cond_broadcast(&self.changed)
        pthread_mutex_unlock(&self.mutex)
        eventfd_write(self.completion, 1)

    cdef void _commit(self) noexcept nogil:
        cdef int index
        cdef Extent *extent
        cdef Py_ssize_t size
        cdef uint64_t last = self.durable
        self.error = 0
        self.out_of_room = False
        for index in range(self.batch.first_extent, self.batch.extent_count):
            extent = &self.batch.extents[index]
            size = extent.end - extent.start
            if size == 0:
                continue
            self.failed_extent = index
            self.failed_operation = b"preparing"
            self.error = self._await_file(extent.file)
            if self.error != 0:
                self.out_of_room = is_full_disk(self.error)
                return
            finish_records(self.batch.data + extent.start, size, extent.file.seed, self.durable, &last)
            self.failed_operation = b"writing"
            self.error = self.disk.write(
                extent.file.descriptor, self.batch.data + extent.start, size, extent.offset
            )
            if self.error != 0:
                # Whatever part of it was written will be written again, octet for octet.
                self.out_of_room = is_full_disk(self.error)
                return
            self.bytes_written += size
            if not self.batch.urgent and extent.end == self.batch.size:
                # Nobody waits for it. The next batch that is synced, or the next segment, brings it on disk as well.
                break
            self.failed_operation = b"syncing"
            self.error = self._sync(extent.file.descriptor)
            if self.error != 0:
                return
            self.durable = last
        self.batch_count += 1

    cdef int _await_file(self, SegmentFile *file) noexcept nogil:
        cdef int error
        pthread_mutex_lock(&self.mutex)
        while not file.ready and not self.stopping:
            pthread_cond_wait(&self.changed, &self.mutex)
        error = file.error if file.ready else ECANCELED
        pthread_mutex_unlock(&self.mutex)
        return error

    cdef int _sync(self, int descriptor) noexcept nogil:
        cdef uint64_t start = self.now_ns()
        cdef int error = self.disk.sync(descriptor)
        cdef uint64_t duration = self.now_ns() - start
        cdef int bucket = 0
        self.last_sync_ns = duration
        self.sync_ns += duration
        self.sync_count += 1
        while bucket < SYNC_BUCKETS - 1 and duration >= <uint64_t>SYNC_BUCKET_MIN_NS << bucket:
            bucket += 1
        self.sync_buckets[bucket] += 1
        return error
