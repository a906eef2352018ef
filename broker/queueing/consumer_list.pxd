cimport cython

from broker.queueing.consumer cimport Consumer


@cython.final
cdef class ConsumerList:
    cdef readonly list consumers
    cdef readonly Consumer active
    cdef readonly bint single
    cdef bint _ranked
    cdef Py_ssize_t _turn
    cdef bint passed_over

    cpdef Consumer next_with_credit(self)
    cdef Consumer _next_by_rank(self)
    cdef int readmit(self) except -1
