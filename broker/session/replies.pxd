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
    cdef public object changed

    cpdef PendingReply pending(self)
