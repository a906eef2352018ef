cimport cython


@cython.final
cdef class PendingReply:
    cdef OrderedReplies _owner
    cdef public object send
    cdef public unsigned long long batch


@cython.final
cdef class OrderedReplies:
    cdef object _waiting
    cdef object _count
    cdef readonly object changed

    cpdef PendingReply pending(self)
    cpdef int send_due(self, unsigned long long durable_batch) except -1
    cpdef bint waits_for_journal(self) except -1
