cimport cython

from broker.busy_poll cimport BusyPoll
from broker.clock cimport monotonic_ns


cdef class EndOfTurn:
    cdef bint end_of_turn_wanted

    cpdef int end_turn(self) except -1


@cython.final
cdef class Turn:
    cdef object _call_soon
    cdef object _run
    cdef BusyPoll _busy_poll
    cdef bint _scheduled
    cdef public bint publishers_blocked
    cdef public unsigned int tick
    cdef public Py_ssize_t hand_over_left
    cdef Py_ssize_t _share
    cdef Py_ssize_t _share_min
    cdef list _waiting
    cdef dict _steps
    cdef list _journals
    cdef object _wakes

    cdef Py_ssize_t share(self) noexcept
    cdef int want_end(self, EndOfTurn waiting) except -1
    cdef int _schedule(self) except -1
    cdef int _wake_some(self) except -1
    cdef int _take_steps(self) except -1
    cdef int _call_each(self, list calls) except -1
    cdef int _end_turns(self) except -1
