from libc.stdint cimport uint64_t

from storage.disk cimport Disk
from storage.segment cimport Segment, SegmentFile
from storage.worker cimport Worker


cdef enum:
    BATCH_SIZE_MIN = 1 << 16            # bytes a batch buffer begins with
    BATCH_SIZE_KEPT = 1 << 24           # a buffer that grew beyond gives its memory back after the commit
    SYNC_BUCKET_MIN_NS = 16000
    SYNC_BUCKETS = 20                   # durations of a sync below 2^n * that, the last for all longer ones

cdef enum CommitState:
    IDLE
    SUBMITTED
    FINISHED


cdef struct Extent:
    # A part of a batch that goes into one segment.
    SegmentFile *file
    Py_ssize_t start
    Py_ssize_t end
    long long offset


cdef class Batch:
    cdef unsigned char *data
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef Extent *extents
    cdef int extent_count
    cdef int extent_capacity
    cdef int first_extent               # those before are on disk already
    cdef list segments
    cdef uint64_t number
    cdef bint urgent            # someone waits until it is on disk

    cdef int make_room(self, Py_ssize_t size) except -1
    cdef int begin_extent(self, Segment segment, long long offset) except -1
    cdef void clear(self) noexcept


cdef class Committer(Worker):
    cdef Disk disk
    cdef int completion
    cdef CommitState state
    cdef Batch batch

    # Results of the last batch, for the loop's thread once the state is FINISHED.
    cdef int error
    cdef const char *failed_operation
    cdef int failed_extent              # while it is at work: where it is
    cdef bint out_of_room               # nothing was lost, the same batch can be submitted again
    cdef uint64_t durable

    cdef uint64_t submitted_ns
    cdef uint64_t sync_count
    cdef uint64_t sync_ns
    cdef uint64_t last_sync_ns
    cdef uint64_t bytes_written
    cdef uint64_t batch_count
    cdef uint64_t[SYNC_BUCKETS] sync_buckets

    cdef bint submit(self, Batch batch) noexcept
    cdef bint finished(self) noexcept
    cdef void take_back(self) noexcept
    cdef void wait(self) noexcept
    cdef uint64_t in_flight_ns(self) noexcept
    cpdef void provide(self, Segment segment, int descriptor, unsigned int seed, int error) noexcept
    cpdef list sync_histogram(self)
    cdef uint64_t now_ns(self) noexcept nogil
    cpdef void withdraw(self, Segment segment) noexcept
    cdef void _commit_submitted(self) noexcept nogil
    cdef void _commit(self) noexcept nogil
    cdef int _await_file(self, SegmentFile *file) noexcept nogil
    cdef int _sync(self, int descriptor) noexcept nogil
