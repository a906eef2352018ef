"""Values by the octets of an address, found without a Python object for those octets."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from protocol.amqp.reader cimport FrameReader

cdef enum:
    CAPACITY_MAX = 65536
    # The places where an address may be: its own, and those that follow. Who makes addresses collide on purpose
    # gains no more than that they are not found here.
    PLACES_MAX = 16
    CAPACITY_MIN_BITS = 6

cdef unsigned long long MULTIPLIER = 0x9E3779B97F4A7C15
# Of all hash values, so that 0 stands for a free place.
cdef unsigned long long USED = 1


cdef inline unsigned long long load_word(const unsigned char *octets) noexcept nogil:
    cdef unsigned long long word
    memcpy(&word, octets, sizeof(word))
    return word


cdef inline unsigned long long mix(unsigned long long state, unsigned long long word) noexcept nogil:
    state = (state ^ word) * MULTIPLIER
    return state ^ (state >> 32)


cdef inline unsigned long long hash_of(const unsigned char *octets, Py_ssize_t size) noexcept nogil:
    """Return a number that depends on all octets, and its high bits most of all."""
    cdef unsigned long long state = <unsigned long long>size
    cdef unsigned long long word = 0
    cdef const unsigned char *last = octets + size - 8
    if size >= 8:
        while octets < last:
            state = mix(state, load_word(octets))
            octets += 8
        # Where the size is no multiple of eight, some octets are taken in twice.
        word = load_word(last)
    else:
        while size:
            size -= 1
            word = word << 8 | octets[size]
    return mix(state, word) * MULTIPLIER | USED


cdef class AddressTable:
    def __cinit__(self):
        self.clear()

    def __dealloc__(self):
        free(self.hashes)

    def __len__(self):
        return self.count

    cdef Py_ssize_t _place_of(
        self, const unsigned char *octets, Py_ssize_t size, unsigned long long hash_value
    ) noexcept:
        """Return where an address is, -1 if it is not there."""
        cdef Py_ssize_t place, number
        cdef void *address
        if self.count:
            for number in range(PLACES_MAX):
                place = ((hash_value >> self.shift) + number) & self.mask
                if self.hashes[place] == hash_value:
                    address = <void *>PyList_GET_ITEM(self.addresses, place)
                    if PyBytes_GET_SIZE(<object>address) == size and not memcmp(
                        PyBytes_AS_STRING(<object>address), octets, size
                    ):
                        return place
        return -1

    cdef object find(self, FrameReader reader):
        cdef unsigned long long hash_value = hash_of(reader.address, reader.address_size)
        cdef Py_ssize_t place = self._place_of(reader.address, reader.address_size, hash_value)
        return None if place < 0 else <object>PyList_GET_ITEM(self.values, place)

    cpdef object get(self, bytes address):
        cdef Py_ssize_t place = self._place_of_bytes(address)
        return None if place < 0 else self.values[place]

    cdef Py_ssize_t _place_of_bytes(self, bytes address) noexcept:
        cdef const unsigned char *octets = <const unsigned char *>PyBytes_AS_STRING(address)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(address)
        return self._place_of(octets, size, hash_of(octets, size))

    cpdef int put(self, bytes address, object value) except -1:
        cdef const unsigned char *octets = <const unsigned char *>PyBytes_AS_STRING(address)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(address)
        cdef unsigned long long hash_value = hash_of(octets, size)
        cdef Py_ssize_t place = self._place_of(octets, size, hash_value)
        if place >= 0:
            self.values[place] = value
            return 0
        if 2 * self.count > self.mask and self.mask + 1 < CAPACITY_MAX:
            self._grow()
        return self._place(hash_value, address, value)

    cdef int _place(self, unsigned long long hash_value, bytes address, object value) except -1:
        """Put an address that is not there into the first free place, or where another one was."""
        cdef Py_ssize_t place, number
        for number in range(PLACES_MAX):
            place = ((hash_value >> self.shift) + number) & self.mask
            if self.hashes[place] == 0:
                self.count += 1
                break
        else:
            place = hash_value >> self.shift
        self.hashes[place] = hash_value
        self.addresses[place] = address
        self.values[place] = value
        return 0

    cdef int _grow(self) except -1:
        cdef Py_ssize_t capacity_before = self.mask + 1
        cdef int shift = self.shift - 1
        cdef Py_ssize_t capacity = <Py_ssize_t>1 << (64 - shift)
        cdef unsigned long long *hashes_before = self.hashes
        cdef unsigned long long *hashes = <unsigned long long *>calloc(capacity, sizeof(unsigned long long))
        cdef list addresses = self.addresses, values = self.values
        cdef Py_ssize_t place
        if hashes is NULL:
            raise MemoryError
        self.hashes = hashes
        self.addresses = [None] * capacity
        self.values = [None] * capacity
        self.shift = shift
        self.mask = capacity - 1
        self.count = 0
        for place in range(capacity_before):
            if hashes_before[place]:
                self._place(hashes_before[place], addresses[place], values[place])
        free(hashes_before)
        return 0

    cpdef int remove(self, bytes address) except -1:
        cdef Py_ssize_t place = self._place_of_bytes(address)
        if place >= 0:
            self.hashes[place] = 0
            self.addresses[place] = None
            self.values[place] = None
            self.count -= 1
        return 0

    cpdef int clear(self) except -1:
        free(self.hashes)
        self.hashes = NULL
        self.addresses = []
        self.values = []
        self.shift = 64 - CAPACITY_MIN_BITS + 1
        self.mask = -1
        self.count = 0
        return 0
