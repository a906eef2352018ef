cimport cython
from libc.stdint cimport uint32_t, uint64_t


cdef struct SegmentFile:
    # What the commit thread knows of a segment. Written by the housekeeper under the committer's mutex.
    int descriptor
    int error           # errno of the preparation
    bint ready          # prepared, or failed to be
    uint32_t seed       # checksum of the file id, from which every record's checksum goes on


cdef enum:
    RECORD_UNIT_SIZE = 8        # what places and sizes of records are counted in; RECORD_ALIGNMENT says so


@cython.final
@cython.no_gc
cdef class Segment:
    cdef readonly unsigned long long number
    cdef readonly long long live
    cdef readonly long long live_units
    cdef readonly long long size
    cdef readonly unsigned long long last_sequence
    cdef readonly unsigned long long state_sequence
    cdef readonly bint sealed
    cdef readonly long long written_size
    cdef readonly unsigned int epoch
    cdef public unsigned long long created_us
    cdef public long long capacity
    # What keeps other segments: the last record that says more about one of its messages ...
    cdef public unsigned long long settled_sequence
    # ... and whether later copies of its messages are in the log, so that all that is said about those counts.
    cdef readonly bint superseded
    # For who settles its messages: whether a settlement has to be noted, and has been since the last records of them.
    cdef bint attention
    cdef bint noted
    cdef SegmentFile file

    cpdef void retain(self, unsigned int units=*) noexcept
    cpdef void release(self, unsigned int units=*) noexcept
    cpdef void supersede(self) noexcept
