from broker.metrics.counters cimport Counters
from broker.session.tls cimport TlsTransport
from broker.session.transmit cimport transmit
from broker.turn cimport EndOfTurn, Turn
from protocol.amqp.writer cimport OutputBuffer


cdef Py_ssize_t FLUSH_SIZE_BYTES
cdef Py_ssize_t OUTPUT_SIZE_MAX_BYTES


cdef class Outlet(EndOfTurn):
    cdef OutputBuffer output
    cdef readonly object transport
    cdef readonly TlsTransport tls   # the transport, if it is one with TLS
    cdef int descriptor
    cdef readonly bint congested
    cdef public dict capabilities    # of the client, as it said in connection.start-ok
    cdef public unsigned int frame_max
    cdef public int work_left        # before the others have their turn
    cdef bint sent_since_tick
    cdef Turn turn
    cdef Counters counters
    cdef object _confirming

    cdef int attach(self, object transport) except -1
    cdef int written(self) except -1
    cpdef int flush(self) except -1
    cpdef int end_turn(self) except -1
