from broker.session.outlet cimport Outlet
from protocol.amqp.reader cimport FrameReader

cdef int WORK_PER_TURN_MAX


cdef class PausingReader(Outlet):
    cdef readonly FrameReader reader
    cdef public bint blocked
    cdef bint _suspended
    cdef bint _resting               # lets others have their turn before it reads on
    cdef int _hold_count
    cdef int _replies_waiting
    cdef bint _replies_hold

    cdef int _process(self) except -1
    cdef int _stop_reading(self) except -1
    cdef int _rest(self) except -1
