cdef class Disk:
    cdef int write(self, int descriptor, const unsigned char *data, size_t size, long long offset) noexcept nogil
    cdef int sync(self, int descriptor) noexcept nogil
    cdef int open_for_reading(self, const char *path, int *error) noexcept nogil
    cdef Py_ssize_t read(
        self, int descriptor, unsigned char *data, size_t size, long long offset, int *error
    ) noexcept nogil
    cdef void close(self, int descriptor) noexcept nogil
