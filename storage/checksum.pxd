from libc.stdint cimport uint32_t

cdef uint32_t checksum(uint32_t before, const unsigned char *data, size_t size) noexcept nogil
