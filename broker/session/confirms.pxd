cimport cython


@cython.final
cdef class Confirms:
    cdef readonly unsigned long long published
    cdef readonly unsigned long long confirmed
    cdef readonly unsigned long long due
    cdef object _batches
    cdef object _rejected

    cpdef int publish(self, unsigned long long batch) except -1
    cpdef bint durable(self, unsigned long long batch) except -1
    cpdef bint waits(self)
