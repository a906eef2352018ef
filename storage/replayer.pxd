from libc.stdint cimport uint32_t, uint64_t

from storage.segment cimport Segment


cdef inline Py_ssize_t summary_size_max(Py_ssize_t payload_size) noexcept nogil:
    """Return how much room a summary may take."""
    return 2 * payload_size + 32


cdef class Replayer:
    cdef bytearray _scratch

    cdef Py_ssize_t summarize(
        self, unsigned char kind, const unsigned char *payload, Py_ssize_t size, unsigned char *to
    ) noexcept nogil
    cdef int take(
        self, unsigned char kind, uint64_t sequence, const unsigned char *summary, Py_ssize_t size, Segment segment,
        uint32_t offset_units, uint32_t record_units
    ) except -1
