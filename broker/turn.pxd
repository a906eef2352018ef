cimport cython

from broker.queueing.queue cimport Queue


cdef class EndOfTurn:
    cdef bint end_of_turn_wanted

    cpdef int end_turn(self) except -1


@cython.final
cdef class Turn:
    cdef object _call_soon
    cdef object _run
    cdef bint _scheduled
    cdef public bint publishers_blocked
    cdef public unsigned int tick
    cdef list _waiting
    cdef list _steps
    cdef list _journals
    cdef list _wakes

    cdef bint has_work(self) noexcept
    cdef int want_end(self, EndOfTurn waiting) except -1
    cdef int _schedule(self) except -1
    cdef int _call_each(self, list calls) except -1
    cdef int _end_turns(self) except -1
