cimport cython
from libc.stdint cimport uint32_t, uint64_t

from storage.committer cimport Batch, Committer
from storage.fetcher cimport Fetch, Fetcher
from storage.reclaimer cimport Reclaimer
from storage.segment cimport Segment


@cython.final
cdef class Journal:
    cdef readonly Segment current
    cdef readonly unsigned long long sequence
    cdef readonly unsigned long long open_batch
    cdef readonly unsigned long long durable_batch
    cdef readonly unsigned long long durable_sequence
    cdef readonly bint failed
    cdef readonly int completion_fd
    cdef readonly object error              # JournalFailed, once failed
    cdef readonly Py_ssize_t reserved       # size of the record that is being written, 0 if none is

    cdef Batch _batch                       # gathers
    cdef Batch _other                       # in flight, or empty
    cdef bint _in_flight
    cdef readonly bint stuck                # the batch in flight waits for room on the disk
    cdef readonly unsigned long long housekeeping_failures
    cdef object _postponed
    cdef object _machine
    cdef object _filesystem
    cdef bint _saves_room
    cdef bint _closed
    cdef bint _closing
    cdef bint _unit_open
    cdef uint32_t _epoch
    cdef long long _capacity                # of the current segment
    cdef Segment _next
    cdef Reclaimer _reclaimer
    cdef Committer _committer
    cdef Fetcher _fetcher
    cdef object _housekeeper
    cdef object _quarantine
    cdef object _directory
    cdef object _options
    cdef object _retention
    cdef readonly bint keeps_history        # what is not needed any more stays for a while
    cdef object _durable_callback
    cdef object _failed_callback
    cdef object _fetched_callback
    cdef object _room_callback
    cdef object _room                       # what it was called with last
    cdef object _indexes

    cdef unsigned char *reserve(self, unsigned char kind, Py_ssize_t payload_size) except NULL
    cdef unsigned long long seal(self, bint unit_ends) except? 0
    cpdef unsigned long long append(self, unsigned char kind, bytes payload, bint unit_ends=*) except? 0
    cpdef void retain(self, Segment segment, unsigned int units=*) noexcept
    cpdef void release(self, Segment segment, unsigned int units=*) noexcept
    cpdef Segment segment(self, unsigned long long number)
    cpdef Segment find_segment(self, unsigned long long number)
    cpdef bint fetch(self, Fetch fetch) except -1
    cpdef int add_sources(self, Fetch fetch) except -1
    cpdef bint commit(self) except -1
    cpdef object on_commit_finished(self)

    cdef unsigned char *_write_header(self, unsigned char kind, Py_ssize_t payload_size) except NULL
    cdef unsigned long long _finish_record(self, unsigned char flags) noexcept
    cdef int _append_mark(self, unsigned char kind, bytes payload) except -1
    cdef int _roll_over(self) except -1
    cdef int _submit(self) except -1
    cdef int _complete(self) except -1
    cdef int _fail(self, object file, str operation, int error) except -1
    cdef bint _flush(self) except -1
    cdef int _finish_segments(self) except -1
    cdef int _collect_outcomes(self) except -1
    cdef int _shut(self) except -1
