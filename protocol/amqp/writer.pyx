"""The frame writer: appends frames to the output buffer of a connection."""

from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from protocol.amqp.reader cimport COPIED_SIZE_MAX

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
    # A body of this size is sent from where it is: to copy it costs more than to tell the system of another place.
    BORROWED_SIZE_MIN = 16 * 1024
    BORROWED_COUNT_MIN = 16
    # Places that are looked at for one piece; the smallest that are borrowed fill one in three.
    PIECE_PARTS_MAX = 8
    # What is copied together at most, and what is looked at in multiples of: a record of TLS.
    JOINED_SIZE_MAX = 16 * 1024

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


cdef inline unsigned char *store_header(unsigned char *at, unsigned int channel, bytes header) noexcept:
    return close_frame(store_bytes(open_frame(at, TYPE_HEADER, channel, PyBytes_GET_SIZE(header)), header))


cdef class OutputBuffer:
    def __dealloc__(self):
        self.release()

    cdef unsigned char *reserve(self, Py_ssize_t size) except NULL:
        """Make room for ``size`` octets at the end and count them as written; return where they go."""
        global pool_length
        cdef Py_ssize_t needed = self.used_bytes + size
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
        memory = self.memory + self.used_bytes
        self.used_bytes = needed
        self.size_bytes += size
        return memory

    cdef int borrow(self, bytes owner, Py_ssize_t offset, Py_ssize_t size) except -1:
        """Append ``size`` octets of ``owner`` without a copy."""
        cdef Borrowed *borrowed
        cdef int capacity
        if self.borrowed_count == self.borrowed_capacity:
            capacity = max(2 * self.borrowed_capacity, BORROWED_COUNT_MIN)
            borrowed = <Borrowed *>realloc(self.borrowed, capacity * sizeof(Borrowed))
            if borrowed is NULL:
                raise MemoryError
            self.borrowed = borrowed
            self.borrowed_capacity = capacity
        borrowed = self.borrowed + self.borrowed_count
        Py_INCREF(owner)
        borrowed.owner = <void *>owner
        borrowed.octets = PyBytes_AS_STRING(owner) + offset
        borrowed.size_bytes = size
        borrowed.position = self.used_bytes
        self.borrowed_count += 1
        self.size_bytes += size
        return 0

    cdef int put_body(self, unsigned int channel, bytes body, unsigned int frame_max) except -1:
        """Append a body in frames of ``frame_max`` at most."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t piece
        cdef unsigned char *frame
        while at < size:
            piece = size - at
            if frame_max and piece > frame_max - FRAME_OVERHEAD_SIZE:
                piece = frame_max - FRAME_OVERHEAD_SIZE
            if size < BORROWED_SIZE_MIN:
                frame = open_frame(self.reserve(piece + FRAME_OVERHEAD_SIZE), TYPE_BODY, channel, piece)
                memcpy(frame, PyBytes_AS_STRING(body) + at, piece)
                close_frame(frame + piece)
            else:
                open_frame(self.reserve(FRAME_OVERHEAD_SIZE - 1), TYPE_BODY, channel, piece)
                self.borrow(body, at, piece)
                close_frame(self.reserve(1))
            at += piece
        return 0

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
        cdef unsigned char *at = self.reserve(method_size + PyBytes_GET_SIZE(header) + 2 * FRAME_OVERHEAD_SIZE)
        at = store_long(open_frame(at, TYPE_METHOD, channel, method_size), BASIC_DELIVER)
        at = store_longlong(store_bytes(at, consumer_tag), delivery_tag)
        at[0] = redelivered
        store_header(close_frame(store_bytes(at + 1, address)), channel, header)
        return self.put_body(channel, body, frame_max)

    cdef int put_content(
        self, unsigned int channel, bytes method, bytes header, bytes body, unsigned int frame_max
    ) except -1:
        cdef Py_ssize_t method_size = PyBytes_GET_SIZE(method)
        cdef unsigned char *at = self.reserve(method_size + PyBytes_GET_SIZE(header) + 2 * FRAME_OVERHEAD_SIZE)
        at = open_frame(at, TYPE_METHOD, channel, method_size)
        store_header(close_frame(store_bytes(at, method)), channel, header)
        return self.put_body(channel, body, frame_max)

    cdef int gather(self, iovec *parts, int count_max) noexcept:
        """Tell where the octets are that come next, in at most ``count_max`` parts. Returns how many there are."""
        cdef Py_ssize_t at = self.sent_bytes
        cdef int number = self.borrowed_sent
        cdef int count = 0
        cdef Py_ssize_t end
        while count < count_max:
            end = self.borrowed[number].position if number < self.borrowed_count else self.used_bytes
            if at < end:
                parts[count].iov_base = self.memory + at
                parts[count].iov_len = end - at
                at = end
            elif number < self.borrowed_count:
                parts[count].iov_base = <void *>self.borrowed[number].octets
                parts[count].iov_len = self.borrowed[number].size_bytes
                number += 1
            else:
                break
            count += 1
        return count

    cdef object piece(self, Py_ssize_t size_max):
        """Return octets that come next, ``size_max`` at most. They are good until the next call.

        What lies in several places is copied together, and what is small; the rest is only looked at. Where less than
        ``size_max`` octets are returned, and not all there are, they fill records of TLS.
        """
        cdef iovec parts[PIECE_PARTS_MAX]
        cdef Py_ssize_t size = min(size_max, self.size_bytes)
        cdef int count = self.gather(parts, PIECE_PARTS_MAX)
        cdef int number
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t part_size
        cdef bytes octets
        if count and <Py_ssize_t>parts[0].iov_len >= size > COPIED_SIZE_MAX:
            return PyMemoryView_FromMemory(<char *>parts[0].iov_base, size, PyBUF_READ)
        if count and parts[0].iov_len >= JOINED_SIZE_MAX:
            size = parts[0].iov_len // JOINED_SIZE_MAX * JOINED_SIZE_MAX
            return PyMemoryView_FromMemory(<char *>parts[0].iov_base, size, PyBUF_READ)
        part_size = 0
        for number in range(count):
            part_size += parts[number].iov_len
        size = min(size, part_size, JOINED_SIZE_MAX)
        octets = PyBytes_FromStringAndSize(NULL, size)
        for number in range(count):
            part_size = min(<Py_ssize_t>parts[number].iov_len, size - at)
            memcpy(PyBytes_AS_STRING(octets) + at, parts[number].iov_base, part_size)
            at += part_size
        return octets

    cdef void consume(self, Py_ssize_t size) noexcept:
        """Forget the first ``size`` octets: they have been sent."""
        cdef Py_ssize_t end
        cdef Borrowed *borrowed
        if size >= self.size_bytes:
            self.release()
            return
        self.size_bytes -= size
        while size:
            borrowed = self.borrowed + self.borrowed_sent
            end = borrowed.position if self.borrowed_sent < self.borrowed_count else self.used_bytes
            if self.sent_bytes < end:
                end = min(end, self.sent_bytes + size)
                size -= end - self.sent_bytes
                self.sent_bytes = end
            elif size < borrowed.size_bytes:
                borrowed.octets += size
                borrowed.size_bytes -= size
                size = 0
            else:
                # The owner is given back with all others: it is mostly theirs, too.
                size -= borrowed.size_bytes
                self.borrowed_sent += 1

    cdef void release(self) noexcept:
        """Forget everything and give the memory back."""
        global pool_length
        cdef int number
        if self.capacity_bytes == POOLED_SIZE and pool_length < POOL_LENGTH_MAX:
            pool[pool_length] = self.memory
            pool_length += 1
        else:
            free(self.memory)
        self.memory = NULL
        self.size_bytes = self.used_bytes = self.sent_bytes = self.capacity_bytes = 0
        if self.borrowed is not NULL:
            for number in range(self.borrowed_count):
                Py_DECREF(<object>self.borrowed[number].owner)
            free(self.borrowed)
            self.borrowed = NULL
            self.borrowed_count = self.borrowed_capacity = self.borrowed_sent = 0

    def heartbeat(self):
        self.put_heartbeat()

    def octets(self, bytes data not None):
        if PyBytes_GET_SIZE(data) == 0:
            return
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
        return b"".join(self.take_parts())

    def take_parts(self):
        """Return what there is to send as a list of buffers, and leave this one empty."""
        cdef list parts = []
        cdef iovec part
        cdef Borrowed *borrowed
        cdef Py_ssize_t offset
        while self.gather(&part, 1):
            borrowed = self.borrowed + self.borrowed_sent
            if self.borrowed_sent < self.borrowed_count and part.iov_base == <void *>borrowed.octets:
                offset = borrowed.octets - PyBytes_AS_STRING(<object>borrowed.owner)
                parts.append(memoryview(<object>borrowed.owner)[offset : offset + borrowed.size_bytes])
            else:
                parts.append(PyBytes_FromStringAndSize(<const char *>part.iov_base, part.iov_len))
            self.consume(part.iov_len)
        return parts
