cimport cython

from broker.queueing.message cimport Message
from broker.queueing.ready cimport ReadyMessages


@cython.final
cdef class Group:
    cdef readonly bint busy
    cdef unsigned long long offered
    cdef ReadyMessages waiting


@cython.final
cdef class MessageGroups:
    cdef readonly bytes header_name
    cdef dict _groups
    cdef dict _waiting
    # Of the message that release() or remove() returned last.
    cdef readonly unsigned long long position
    cdef readonly bint redelivered

    cdef bint admit(self, Message message, unsigned long long position, bint redelivered) except -1
    cdef int taken(self, Message message, bint no_ack) except -1
    cdef Message next_after(self, Message message)
    cdef Message remove(self, unsigned long long position)
    cdef list everything(self)
