cdef class Disk:
    cdef int write(self, int descriptor, const unsigned char *data, size_t size, long long offset) noexcept nogil
    cdef int sync(self, int descriptor) noexcept nogil
