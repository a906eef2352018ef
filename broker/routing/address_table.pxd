cimport cython

from protocol.amqp.reader cimport FrameReader


@cython.final
cdef class AddressTable:
    # The same place in all three: what is looked at for every message lies close together.
    cdef unsigned long long *hashes      # 0: the place is free
    cdef list addresses
    cdef list values
    cdef int shift                       # of a hash value, to its own place
    cdef Py_ssize_t mask                 # how many places there are, less one
    cdef Py_ssize_t count

    cdef object find(self, FrameReader reader)
    cpdef object get(self, bytes address)
    cpdef int put(self, bytes address, object value) except -1
    cpdef int remove(self, bytes address) except -1
    cpdef int clear(self) except -1
    cdef Py_ssize_t _place_of(
        self, const unsigned char *octets, Py_ssize_t size, unsigned long long hash_value
    ) noexcept
    cdef Py_ssize_t _place_of_bytes(self, bytes address) noexcept
    cdef int _place(self, unsigned long long hash_value, bytes address, object value) except -1
    cdef int _grow(self) except -1
