from libc.stdint cimport uint32_t

cdef uint32_t checksum(uint32_t before, const unsigned char *data, size_t size) noexcept nogil

cdef uint32_t checksum_before(uint32_t after, const unsigned char *data, size_t size) noexcept nogil
