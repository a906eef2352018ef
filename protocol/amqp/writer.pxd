cdef class OutputBuffer:
    cdef unsigned char *memory
    cdef readonly Py_ssize_t size_bytes
    cdef Py_ssize_t capacity_bytes

    cdef unsigned char *reserve(self, Py_ssize_t size) except NULL
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
