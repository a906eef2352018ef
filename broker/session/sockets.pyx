"""Reading from sockets: all that have something are read from in one call of the event loop, and its turn ends there.

The event loop's own way costs some thousands of instructions for each read: it asks for a buffer, calls back with the
size, and calls once more for the end of the turn, each time through objects made for that call. This is most of what a
message costs that comes alone. Here the sockets are in an epoll set of their own, which the event loop watches as one
descriptor; accepting, writing what a socket does not take at once, and closing stay with the event loop.
"""

import os

cimport cython
from libc.errno cimport EAGAIN, EINTR, ENOENT, errno
from posix.unistd cimport close

from broker.turn cimport EndOfTurn
from protocol.amqp.reader cimport ReadBuffer

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLL_CLOEXEC
        EPOLLIN
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int what, int descriptor, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int count_max, int timeout_ms)

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
    Py_ssize_t recv(int descriptor, void *memory, size_t size, int flags)

cdef enum:
    # How often one socket is read from while it fills the whole buffer; those who read rest earlier, as a rule.
    FULL_READS_MAX = 4


cdef object system_error():
    cdef int number = errno
    return OSError(number, os.strerror(number))


cdef class SocketReader(EndOfTurn):
    def __init__(self):
        EndOfTurn.__init__(self)
        self.socket = -1

    cdef int receive(self, Py_ssize_t size) except -1:
        raise NotImplementedError

    cdef int input_ended(self, bint orderly) except -1:
        raise NotImplementedError


cdef class Sockets:
    def __cinit__(self):
        self._epoll = -1

    def __init__(self, loop, ReadBuffer buffer not None):
        self._loop = loop
        self._buffer = buffer
        self._readers = []
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise system_error()
        self.watch(self._epoll, self._read)

    def __dealloc__(self):
        if self._epoll >= 0:
            close(self._epoll)

    def close(self):
        if self._epoll >= 0:
            self._loop.remove_reader(self._epoll)
            close(self._epoll)
            self._epoll = -1

    def call_soon(self, callback):
        if self._is_reading and self._then is None:
            self._then = callback
        else:
            self._loop.call_soon(callback)

    def fileno(self):
        return self._epoll

    def watch(self, int descriptor, callback not None):
        self._loop.add_reader(descriptor, WatchedDescriptor(self, callback))

    cdef int add(self, SocketReader reader, int descriptor) except -1:
        while len(self._readers) <= descriptor:
            self._readers.append(None)
        reader.socket = descriptor
        if reader.reading:
            self._watch(reader)
        reader.sockets = self
        self._readers[descriptor] = reader
        return 0

    cdef int remove(self, SocketReader reader) except -1:
        reader.reading = False
        reader.sockets = None
        if self._epoll >= 0:
            self._unwatch(reader)
        self._readers[reader.socket] = None
        return 0

    cdef int resume(self, SocketReader reader) except -1:
        reader.reading = True
        if not reader.watched and self._epoll >= 0:
            try:
                self._watch(reader)
            except OSError:
                # Nobody would ever hear of it again.
                reader.reading = False
                reader.input_ended(False)
                raise
        return 0

    cdef int _watch(self, SocketReader reader) except -1:
        cdef epoll_event event
        event.events = EPOLLIN
        event.data.u64 = reader.socket
        if epoll_ctl(self._epoll, EPOLL_CTL_ADD, reader.socket, &event) < 0:
            raise system_error()
        reader.watched = True
        return 0

    cdef int _unwatch(self, SocketReader reader) except -1:
        cdef epoll_event event
        if reader.watched:
            reader.watched = False
            if epoll_ctl(self._epoll, EPOLL_CTL_DEL, reader.socket, &event) < 0 and errno != ENOENT:
                raise system_error()
        return 0

    def _read(self):
        """Read from every socket that has something."""
        cdef SocketReader reader
        cdef int number
        cdef int count = epoll_wait(self._epoll, self._events, EVENTS_MAX, 0)
        if count < 0:
            if errno == EINTR:
                return
            raise system_error()
        for number in range(count):
            # One that was read from before may have had this one removed.
            reader = self._readers[self._events[number].data.u64]
            if reader is not None:
                self._read_from(reader)

    cdef int _read_from(self, SocketReader reader) except -1:
        cdef Py_ssize_t size
        cdef int reads_left = FULL_READS_MAX
        if not reader.reading:
            # Who rests for the length of a turn never gets here, and costs no call of the system.
            return self._unwatch(reader)
        while reads_left and reader.reading:
            size = recv(
                reader.socket, self._buffer.memory + self._buffer.headroom_bytes, self._buffer.size_bytes, MSG_DONTWAIT
            )
            if size > 0:
                try:
                    reader.receive(size)
                except Exception:
                    # As with the event loop: it tells of the mistake, and the connection is lost.
                    reader.reading = False
                    reader.input_ended(False)
                    raise
                if size < self._buffer.size_bytes:
                    return 0
                reads_left -= 1
            elif size < 0 and errno == EINTR:
                reads_left -= 1
            elif size < 0 and errno == EAGAIN:
                return 0
            else:
                reader.reading = False
                self._unwatch(reader)
                reader.input_ended(size == 0)
        return 0


@cython.final
@cython.internal
cdef class WatchedDescriptor:
    """What the event loop calls when a descriptor is readable."""

    cdef Sockets sockets
    cdef object callback

    def __init__(self, Sockets sockets, callback):
        self.sockets = sockets
        self.callback = callback

    def __call__(self):
        """Call back, and then do what was to be done soon."""
        cdef Sockets sockets = self.sockets
        sockets._is_reading = True
        try:
            self.callback()
        finally:
            sockets._is_reading = False
            then = sockets._then
            if then is not None:
                sockets._then = None
                then()
