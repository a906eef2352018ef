from broker.session.reading cimport PausingReader
from broker.session.sockets cimport Sockets
from protocol.amqp.reader cimport ReadBuffer


cdef class Receiver(PausingReader):
    cdef readonly object broker
    cdef ReadBuffer _read_buffer

    cdef int _read_directly(self) except -1
