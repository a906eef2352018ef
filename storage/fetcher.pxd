from libc.stdint cimport uint32_t, uint64_t

from storage.disk cimport Disk
from storage.record cimport RecordHeader
from storage.segment cimport Segment
from storage.worker cimport Worker


cdef enum:
    FETCHES_MAX = 256               # that may wait for the thread or for their owner
    DESCRIPTORS_MAX = 16            # of segments that are kept open
    SPAN_SIZE_MAX = 1 << 20         # bytes that are read at once
    SPAN_GAP_MAX = 4096             # bytes that are read along rather than reading twice
    SPAN_SLACK = 512                # bytes beside its body that a record is expected to have
    DATA_SIZE_MAX = 1 << 24         # bytes that one fetch brings; what goes beyond is NOT_READ


cpdef enum FetchStatus:
    # What became of one record.
    NOT_READ = 0
    READ = 1
    DAMAGED = 2
    UNREADABLE = 3


cdef struct FetchItem:
    uint64_t position           # the owner's
    uint64_t location           # number of the segment, and offset there in units
    uint32_t body_size          # the owner's, and a hint at the size of the record
    FetchStatus status
    int error                   # errno, where it is UNREADABLE
    Py_ssize_t at               # of the record in the data


cdef struct FetchSource:
    # What the thread has to know of a segment.
    uint64_t number
    uint32_t seed
    uint32_t epoch


cdef struct FetchWork:
    # All that the thread sees of a fetch.
    FetchItem *items
    Py_ssize_t count
    Py_ssize_t capacity
    FetchSource *sources
    int source_count
    Py_ssize_t source_capacity
    unsigned char *data
    Py_ssize_t size
    Py_ssize_t data_capacity
    bint finished


cdef class Fetch:
    cdef readonly object owner
    cdef FetchWork work

    cpdef int add(self, uint64_t position, uint64_t location, uint32_t body_size) except -1
    cdef int add_source(self, Segment segment) except -1
    cdef bint knows(self, uint64_t number) noexcept
    cdef RecordHeader *record(self, Py_ssize_t index) noexcept


cdef class Fetcher(Worker):
    cdef bint close_all
    cdef Disk disk
    cdef int completion
    cdef bytes directory
    cdef const char *directory_path
    cdef list handed_over
    cdef FetchWork *waiting[FETCHES_MAX]
    cdef int waiting_count
    # Of the thread alone.
    cdef uint64_t[DESCRIPTORS_MAX] numbers
    cdef int[DESCRIPTORS_MAX] descriptors
    cdef int next_descriptor

    cpdef bint submit(self, Fetch fetch) except -1
    cpdef list take_finished(self)
    cpdef void forget_files(self) noexcept
    cdef FetchWork *_take_waiting(self) noexcept nogil
    cdef void _close_descriptors(self) noexcept nogil
    cdef void _serve(self, FetchWork *work) noexcept nogil
    cdef Py_ssize_t _read_span(self, FetchWork *work, Py_ssize_t first) noexcept nogil
    cdef void _read_one(self, FetchWork *work, FetchItem *item, FetchSource *source, int descriptor) noexcept nogil
    cdef int _open(self, uint64_t number, int *error) noexcept nogil
