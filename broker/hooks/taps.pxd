cimport cython


@cython.final
cdef class Taps:
    cdef public object publishing
    cdef public object delivering
