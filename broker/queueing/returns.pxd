cimport cython


@cython.final
@cython.no_gc
cdef class Returns:
    cdef dict _by_position

    cdef int note(self, unsigned long long position, unsigned int count, unsigned long long not_before_ms) except -1
    cdef unsigned int count(self, unsigned long long position) except? 0
    cdef unsigned long long not_before_ms(self, unsigned long long position) except? 0
    cdef unsigned int forget(self, unsigned long long position) except? 0
