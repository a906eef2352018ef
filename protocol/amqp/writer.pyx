"""The frame writer: appends frames to the output buffer of a connection."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

cdef enum:
    FRAME_END = 0xCE
    FRAME_OVERHEAD_SIZE = 8
    TYPE_METHOD = 1
    TYPE_HEADER = 2
    TYPE_BODY = 3
    TYPE_HEARTBEAT = 8
    BASIC_DELIVER = (60 << 16) | 60
    # Buffers of this size are kept for the next connection that has something to send.
    POOLED_SIZE = 128 * 1024
    POOL_LENGTH_MAX = 32

cdef unsigned char *pool[POOL_LENGTH_MAX]
cdef int pool_length = 0


cdef inline unsigned char *store_short(unsigned char *at, unsigned int value) noexcept nogil:
    at[0] = (value >> 8) & 0xFF
    at[1] = value & 0xFF
    return at + 2


cdef inline unsigned char *store_long(unsigned char *at, unsigned int value) noexcept nogil:
    at[0] = value >> 24
    at[1] = (value >> 16) & 0xFF
    at[2] = (value >> 8) & 0xFF
    at[3] = value & 0xFF
    return at + 4


cdef inline unsigned char *store_longlong(unsigned char *at, unsigned long long value) noexcept nogil:
    return store_long(store_long(at, <unsigned int>(value >> 32)), <unsigned int>value)


cdef inline unsigned char *store_bytes(unsigned char *at, bytes value) noexcept:
    memcpy(at, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    return at + PyBytes_GET_SIZE(value)


cdef inline unsigned char *open_frame(
    unsigned char *at, unsigned int frame_type, unsigned int channel, Py_ssize_t size
) noexcept nogil:
    at[0] = frame_type
    return store_long(store_short(at + 1, channel), <unsigned int>size)


cdef inline unsigned char *close_frame(unsigned char *at) noexcept nogil:
    at[0] = FRAME_END
    return at + 1


cdef inline Py_ssize_t content_size(Py_ssize_t header_size, Py_ssize_t body_size, unsigned int frame_max) noexcept nogil:
    """Return how many octets the frames of header and body take."""
    cdef Py_ssize_t frames = 0
    if body_size:
        frames = 1
        if frame_max and body_size > frame_max - FRAME_OVERHEAD_SIZE:
            frames = (body_size - 1) // <Py_ssize_t>(frame_max - FRAME_OVERHEAD_SIZE) + 1
    return header_size + body_size + (1 + frames) * FRAME_OVERHEAD_SIZE


cdef inline unsigned char *store_content(
    unsigned char *at, unsigned int channel, bytes header, bytes body, unsigned int frame_max
) noexcept:
    cdef Py_ssize_t left = PyBytes_GET_SIZE(body)
    cdef const char *data = PyBytes_AS_STRING(body)
    cdef Py_ssize_t piece
    at = open_frame(at, TYPE_HEADER, channel, PyBytes_GET_SIZE(header))
    at = close_frame(store_bytes(at, header))
    while left:
        piece = left
        if frame_max and piece > frame_max - FRAME_OVERHEAD_SIZE:
            piece = frame_max - FRAME_OVERHEAD_SIZE
        at = open_frame(at, TYPE_BODY, channel, piece)
        memcpy(at, data, piece)
        at = close_frame(at + piece)
        data += piece
        left -= piece
    return at


cdef class OutputBuffer:
    def __dealloc__(self):
        self.release()

    cdef unsigned char *reserve(self, Py_ssize_t size) except NULL:
        """Make room for ``size`` octets at the end and count them as written; return where they go."""
        global pool_length
        cdef Py_ssize_t needed = self.size_bytes + size
        cdef Py_ssize_t capacity
        cdef unsigned char *memory
        if needed > self.capacity_bytes:
            if self.memory is NULL and needed <= POOLED_SIZE:
                capacity = POOLED_SIZE
                if pool_length:
                    pool_length -= 1
                    memory = pool[pool_length]
                else:
                    memory = <unsigned char *>malloc(capacity)
            else:
                capacity = max(needed, 2 * self.capacity_bytes, POOLED_SIZE)
                memory = <unsigned char *>realloc(self.memory, capacity)
            if memory is NULL:
                raise MemoryError
            self.memory = memory
            self.capacity_bytes = capacity
        memory = self.memory + self.size_bytes
        self.size_bytes = needed
        return memory

    cdef int put_heartbeat(self) except -1:
        cdef unsigned char *at = self.reserve(FRAME_OVERHEAD_SIZE)
        close_frame(open_frame(at, TYPE_HEARTBEAT, 0, 0))
        return 0

    cdef int put_method(self, unsigned int channel, bytes payload) except -1:
        cdef unsigned char *at = self.reserve(PyBytes_GET_SIZE(payload) + FRAME_OVERHEAD_SIZE)
        close_frame(store_bytes(open_frame(at, TYPE_METHOD, channel, PyBytes_GET_SIZE(payload)), payload))
        return 0

    cdef int put_acknowledgement(
        self, unsigned int channel, unsigned int method, unsigned long long delivery_tag, unsigned char flags
    ) except -1:
        """Append basic.ack (method 80) or basic.nack (method 120) for publisher confirms."""
        cdef unsigned char *at = open_frame(self.reserve(13 + FRAME_OVERHEAD_SIZE), TYPE_METHOD, channel, 13)
        at = store_longlong(store_short(store_short(at, 60), method), delivery_tag)
        at[0] = flags
        close_frame(at + 1)
        return 0

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
    ) except -1:
        cdef Py_ssize_t method_size = 13 + PyBytes_GET_SIZE(consumer_tag) + PyBytes_GET_SIZE(address)
        cdef unsigned char *at = self.reserve(
            method_size
            + FRAME_OVERHEAD_SIZE
            + content_size(PyBytes_GET_SIZE(header), PyBytes_GET_SIZE(body), frame_max)
        )
        at = store_long(open_frame(at, TYPE_METHOD, channel, method_size), BASIC_DELIVER)
        at = store_longlong(store_bytes(at, consumer_tag), delivery_tag)
        at[0] = redelivered
        at = close_frame(store_bytes(at + 1, address))
        store_content(at, channel, header, body, frame_max)
        return 0

    cdef int put_content(
        self, unsigned int channel, bytes method, bytes header, bytes body, unsigned int frame_max
    ) except -1:
        cdef unsigned char *at = self.reserve(
            PyBytes_GET_SIZE(method)
            + FRAME_OVERHEAD_SIZE
            + content_size(PyBytes_GET_SIZE(header), PyBytes_GET_SIZE(body), frame_max)
        )
        at = open_frame(at, TYPE_METHOD, channel, PyBytes_GET_SIZE(method))
        store_content(close_frame(store_bytes(at, method)), channel, header, body, frame_max)
        return 0

    cdef void consume(self, Py_ssize_t size) noexcept:
        """Forget the first ``size`` octets: they have been sent."""
        if size >= self.size_bytes:
            self.release()
        else:
            self.size_bytes -= size
            memmove(self.memory, self.memory + size, self.size_bytes)

    cdef void release(self) noexcept:
        """Forget everything and give the memory back."""
        global pool_length
        if self.capacity_bytes == POOLED_SIZE and pool_length < POOL_LENGTH_MAX:
            pool[pool_length] = self.memory
            pool_length += 1
        else:
            free(self.memory)
        self.memory = NULL
        self.size_bytes = self.capacity_bytes = 0

    def heartbeat(self):
        self.put_heartbeat()

    def octets(self, bytes data):
        store_bytes(self.reserve(PyBytes_GET_SIZE(data)), data)

    def method(self, unsigned int channel, bytes payload):
        self.put_method(channel, payload)

    def content(self, unsigned int channel, bytes method, bytes header, bytes body, unsigned int frame_max):
        self.put_content(channel, method, header, body, frame_max)

    def deliver(
        self,
        unsigned int channel,
        bytes consumer_tag,
        unsigned long long delivery_tag,
        bint redelivered,
        bytes address,
        bytes header,
        bytes body,
        unsigned int frame_max,
    ):
        self.put_deliver(channel, consumer_tag, delivery_tag, redelivered, address, header, body, frame_max)

    def take(self):
        data = PyBytes_FromStringAndSize(<const char *>self.memory, self.size_bytes)
        self.release()
        return data
