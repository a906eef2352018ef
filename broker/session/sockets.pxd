from libc.stdint cimport uint32_t, uint64_t

from broker.turn cimport EndOfTurn
from protocol.amqp.reader cimport ReadBuffer

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data

cdef enum:
    # How many sockets are read from before those that wait for what was read have their turn.
    EVENTS_MAX = 256


cdef class SocketReader(EndOfTurn):
    cdef Sockets sockets             # that it reads through, None as long as the event loop reads for it
    cdef int socket                  # its descriptor there
    cdef bint reading                # it wants what comes
    cdef bint watched                # the system tells when something comes

    cdef int receive(self, Py_ssize_t size) except -1
    cdef int input_ended(self, bint orderly) except -1


cdef class Sockets:
    cdef object _loop
    cdef ReadBuffer _buffer
    cdef int _epoll
    cdef list _readers               # by descriptor
    cdef bint _is_reading
    cdef object _then
    cdef epoll_event _events[EVENTS_MAX]

    cdef int add(self, SocketReader reader, int descriptor) except -1
    cdef int remove(self, SocketReader reader) except -1
    cdef int resume(self, SocketReader reader) except -1
    cdef int _watch(self, SocketReader reader) except -1
    cdef int _unwatch(self, SocketReader reader) except -1
    cdef int _read_from(self, SocketReader reader) except -1
