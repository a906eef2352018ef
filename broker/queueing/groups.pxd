cimport cython

from broker.queueing.message cimport Message
from broker.queueing.ready cimport ReadyMessages


@cython.final
cdef class Group:
    cdef unsigned long long out
    cdef unsigned long long offered
    cdef ReadyMessages waiting


@cython.final
cdef class MessageGroups:
    cdef readonly bytes header_name
    cdef dict _groups
    cdef object _waiting
    cdef MessageGroups _before
    cdef MessageGroups _heir
    cdef readonly Message dropped
    # Of the message that next_after() or remove() returned last.
    cdef readonly unsigned long long position
    cdef readonly bint redelivered

    cpdef bint admit(self, Message message, unsigned long long position, bint redelivered) except -1
    cpdef int taken(self, Message message, unsigned long long position) except -1
    cpdef Message next_after(self, Message message, unsigned long long position)
    cpdef unsigned long long oldest_waiting(self) except? 0
    cpdef Message remove(self, unsigned long long position)
    cdef ReadyMessages part_of(self, unsigned long long position)
    cdef MessageGroups leave(self)
    cpdef bint drop_next(self) except -1
    cdef int take_busy(self, bytes key, unsigned long long position) except -1
    cdef bint _inherits(self, bytes key) except -1
    cdef list everything(self)
