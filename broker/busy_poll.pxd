cimport cython

from broker.clock cimport monotonic_ns


cdef extern from "<sched.h>" nogil:
    int sched_yield()


@cython.final
cdef class BusyPoll:
    cdef object _call_soon
    cdef object _look
    cdef long long _duration_ns
    cdef int _course
    cdef long long _ended_at_ns
    cdef long long _until_ns
    cdef bint _idle
    cdef readonly bint looking
    cdef bytearray _confidence

    cpdef int begin_turn(self, long long now_ns) except -1
    cpdef int end_turn(self, long long now_ns) except -1
