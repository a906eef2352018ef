cimport cython


@cython.final
@cython.no_gc
@cython.freelist(1024)
cdef class Message:
    cdef readonly bytes address
    cdef readonly bytes header
    cdef readonly bytes body
    cdef readonly bint persistent

    cpdef Py_ssize_t size(self)
