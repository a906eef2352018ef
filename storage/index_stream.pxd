from libc.stdint cimport uint64_t


cdef inline unsigned char *put_varint(unsigned char *at, uint64_t value) noexcept nogil:
    while value >= 0x80:
        at[0] = <unsigned char>(value | 0x80)
        value >>= 7
        at += 1
    at[0] = <unsigned char>value
    return at + 1


cdef inline const unsigned char *get_varint(
    const unsigned char *at, const unsigned char *end, uint64_t *value
) noexcept nogil:
    """Read a number; NULL if it is not whole."""
    cdef int shift = 0
    value[0] = 0
    while at < end and shift < 64:
        value[0] |= <uint64_t>(at[0] & 0x7f) << shift
        if at[0] < 0x80:
            return at + 1
        at += 1
        shift += 7
    return NULL
