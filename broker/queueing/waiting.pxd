cimport cython

from broker.queueing.due_heap cimport DueHeap
from broker.queueing.message cimport Message
from broker.queueing.ready cimport NOT_HERE, ReadyMessages


@cython.final
cdef class WaitingMessages:
    cdef readonly ReadyMessages messages
    cdef DueHeap _due
    # Of the message that remove() or release() returned last.
    cdef readonly unsigned long long taken_position
    cdef readonly bint taken_redelivered

    cdef Py_ssize_t length(self) noexcept
    cdef int put(
        self, object message, unsigned long long position, bint redelivered, unsigned long long not_before_ms
    ) except -1
    cdef object remove(self, unsigned long long position)
    cdef object release(self, unsigned long long now)
    cdef unsigned long long next_due_ms(self) noexcept
    cdef int _forget_gone(self) except -1
