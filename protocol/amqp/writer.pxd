cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void *iov_base
        size_t iov_len


cdef struct Borrowed:
    # Octets that are not in the buffer's memory but part of ``owner``, which is kept alive.
    void *owner
    const char *octets
    Py_ssize_t size_bytes
    Py_ssize_t position             # where in the buffer's memory they belong


cdef class OutputBuffer:
    cdef unsigned char *memory
    cdef readonly Py_ssize_t size_bytes     # of everything
    cdef Py_ssize_t used_bytes              # of ``memory``
    cdef Py_ssize_t sent_bytes              # of ``memory``: these need not be sent any more
    cdef Py_ssize_t capacity_bytes
    cdef Borrowed *borrowed
    cdef int borrowed_count
    cdef int borrowed_capacity
    cdef int borrowed_sent                  # so many of the borrowed need not be sent any more

    cdef unsigned char *reserve(self, Py_ssize_t size) except NULL
    cdef int borrow(self, bytes owner, Py_ssize_t offset, Py_ssize_t size) except -1
    cdef int put_body(self, unsigned int channel, bytes body, unsigned int frame_max) except -1
    cdef object piece(self, Py_ssize_t size_max)
    cdef int gather(self, iovec *parts, int count_max) noexcept
    cdef int put_heartbeat(self) except -1
    cdef int put_method(self, unsigned int channel, bytes payload) except -1
    cdef int put_acknowledgement(
        self, unsigned int channel, unsigned int method, unsigned long long delivery_tag, unsigned char flags
    ) except -1
    cdef int put_deliver(
        self,
        unsigned int channel,
        bytes consumer_tag,
        unsigned long long delivery_tag,
        bint redelivered,
        bytes address,
        bytes header,
        bytes body,
        unsigned int frame_max,
    ) except -1
    cdef int put_content(
        self, unsigned int channel, bytes method, bytes header, bytes body, unsigned int frame_max
    ) except -1
    cdef void consume(self, Py_ssize_t size) noexcept
    cdef void release(self) noexcept
