cdef unsigned int WORD_MASK
cdef unsigned long long LONG_MASK
cdef unsigned int HASH_MASK
cdef unsigned long long SEED_MASK
cdef unsigned int GOLDEN
cdef unsigned int OF_BINARY
cdef unsigned int OF_LIST_END
cdef int STATE_SIZE
cdef double TWO_TO_THE_64


cdef list _seeded(unsigned long long seed)
cdef unsigned int _binary(bytes octets, unsigned int code) noexcept
cdef unsigned int _word(bytes octets, Py_ssize_t start, Py_ssize_t end) noexcept
cdef (unsigned int, unsigned int, unsigned int) _mix(unsigned int a, unsigned int b, unsigned int c) noexcept
