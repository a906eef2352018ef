"""The frame reader: walks the read buffer in C, without a Python object per frame."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from protocol.amqp.erlang_term import format_binary
from protocol.amqp.errors import frame_error

# Under their own names, for the modules in pure Python mode.
globals().update(FrameKind.__members__)

cdef enum:
    FRAME_END = 0xCE
    BASIC_CLASS = 60
    TYPE_METHOD = 1
    TYPE_HEADER = 2
    TYPE_BODY = 3
    TYPE_HEARTBEAT = 8
    # Class id and method id as one number.
    BASIC_PUBLISH = (60 << 16) | 40
    BASIC_ACK = (60 << 16) | 80
    BASIC_REJECT = (60 << 16) | 90
    BASIC_NACK = (60 << 16) | 120
    SNIPPET_SIZE = 16
    SPARE_FLAGS = 3


cdef class ReadBuffer:
    def __cinit__(self, Py_ssize_t size_bytes, Py_ssize_t headroom_bytes):
        self.memory = <unsigned char *>malloc(headroom_bytes + size_bytes)
        if self.memory is NULL:
            raise MemoryError
        self.headroom_bytes = headroom_bytes
        self.size_bytes = size_bytes
        self.view = PyMemoryView_FromMemory(<char *>self.memory + headroom_bytes, size_bytes, PyBUF_WRITE)

    def __dealloc__(self):
        free(self.memory)

    cdef object piece(self, Py_ssize_t size):
        """Return the first ``size`` octets that were read. They are good until the next read."""
        if size <= COPIED_SIZE_MAX:
            return PyBytes_FromStringAndSize(<const char *>self.memory + self.headroom_bytes, size)
        return PyMemoryView_FromMemory(<char *>self.memory + self.headroom_bytes, size, PyBUF_READ)


cdef object frame_fault(int frame_type, const unsigned char *payload, Py_ssize_t size, str fault):
    """Build the exception for an unacceptable frame; the text is RabbitMQ's."""
    cdef bytes snippet = PyBytes_FromStringAndSize(<const char *>payload, min(size, SNIPPET_SIZE))
    shown = "all" if size <= SNIPPET_SIZE else "first 16"
    return frame_error(f"type {frame_type}, {shown} octets = {format_binary(snippet)}: {fault}")


cdef inline void clear_spare_flags(const unsigned char *header) noexcept:
    """Clear the two property flags that no property has: RabbitMQ neither looks at them nor passes them on.

    The octets are always ours, in the read buffer or in the tail.
    """
    (<unsigned char *>header)[CONTENT_HEADER_SIZE_MIN - 1] &= ~SPARE_FLAGS


cdef class FrameReader:
    def __cinit__(self, unsigned int frame_max):
        self.frame_max = frame_max
        self.body_frame_left = -1

    def __dealloc__(self):
        free(self.tail)

    @property
    def tail_bytes(self):
        return self.tail_size

    cdef void feed(self, ReadBuffer buffer, Py_ssize_t size) noexcept:
        """Take ``size`` octets that were read into the buffer. What is left at the end must be kept."""
        self.cursor = buffer.memory + buffer.headroom_bytes
        self.end = self.cursor + size
        if self.tail_size:
            self.cursor -= self.tail_size
            memcpy(<void *>self.cursor, self.tail, self.tail_size)
            self.tail_size = 0

    cdef void feed_tail(self) noexcept:
        """Go on with what was kept, without new octets."""
        self.cursor = self.tail
        self.end = self.cursor + self.tail_size
        self.tail_size = 0

    cdef int keep_tail(self) except -1:
        """Copy what has not been consumed out of the shared buffer."""
        cdef Py_ssize_t size = self.end - self.cursor
        cdef unsigned char *kept = NULL
        if size:
            kept = <unsigned char *>malloc(size)
            if kept is NULL:
                raise MemoryError
            memcpy(kept, self.cursor, size)
        free(self.tail)
        self.tail = kept
        self.tail_size = size
        self.cursor = self.end = NULL
        return 0

    cdef int next(self) except -1:
        """Move to the next frame and return its kind."""
        cdef const unsigned char *at = self.cursor
        cdef const unsigned char *payload = at + 7
        cdef Py_ssize_t available = self.end - at
        cdef Py_ssize_t size
        cdef unsigned int method

        if self.body_frame_left >= 0:
            return self._next_body_piece()
        if available < 7:
            self.kind = FRAME_NONE
            return FRAME_NONE
        size = load_long(at + 3)
        # RabbitMQ forgives clients that do not count the 8 octets around the payload.
        if self.frame_max and size > self.frame_max:
            self.lost = True
            raise frame_fault(at[0], NULL, 0, f"{{frame_too_large,{size},{self.frame_max - FRAME_OVERHEAD_SIZE}}}")
        self.channel = load_short(at + 1)
        if at[0] == TYPE_BODY:
            self.cursor = payload
            self.body_frame_left = size
            return self._next_body_piece()
        if available < size + FRAME_OVERHEAD_SIZE:
            self.kind = FRAME_NONE
            return FRAME_NONE
        if payload[size] != FRAME_END:
            self.lost = True
            raise frame_fault(at[0], payload, size, f"{{invalid_frame_end_marker,{payload[size]}}}")
        self.cursor = payload + size + 1
        self.payload = payload
        self.payload_size = size
        if at[0] == TYPE_METHOD and size >= 4:
            method = load_long(payload)
            if method == BASIC_PUBLISH and self._read_publish(payload, size):
                self.kind = FRAME_CONTENT if self._read_whole_content() else FRAME_PUBLISH
            elif (method == BASIC_ACK or method == BASIC_NACK or method == BASIC_REJECT) and size == 13:
                self.delivery_tag = load_longlong(payload + 4)
                self.flags = payload[12]
                self.kind = FRAME_ACK if method == BASIC_ACK else FRAME_NACK if method == BASIC_NACK else FRAME_REJECT
            else:
                self.kind = FRAME_METHOD
        elif at[0] == TYPE_HEADER and size >= 12:
            if size >= CONTENT_HEADER_SIZE_MIN:
                clear_spare_flags(payload)
            self.kind = FRAME_HEADER
        elif at[0] == TYPE_HEARTBEAT and size == 0:
            self.kind = FRAME_HEARTBEAT
        else:
            raise frame_fault(at[0], payload, size, "unknown_frame")
        return self.kind

    cdef int _next_body_piece(self) except -1:
        """Pass on as much of a body frame as there is, so that large bodies are copied once, to where they belong."""
        cdef Py_ssize_t available = self.end - self.cursor
        if available == 0:
            self.kind = FRAME_NONE
            return FRAME_NONE
        self.payload = self.cursor
        self.kind = FRAME_BODY
        if available <= self.body_frame_left:
            # The end octet is not here yet: the last octet of the payload stays back with it, so that a frame ends
            # with a piece that was checked, and no piece is empty unless the frame is.
            if available == self.body_frame_left:
                available -= 1
            if available == 0:
                self.kind = FRAME_NONE
                return FRAME_NONE
            self.payload_size = available
            self.cursor += available
            self.body_frame_left -= available
            return FRAME_BODY
        self.payload_size = self.body_frame_left
        self.cursor += self.body_frame_left
        if self.cursor[0] != FRAME_END:
            self.lost = True
            raise frame_fault(
                TYPE_BODY, self.payload, self.payload_size, f"{{invalid_frame_end_marker,{self.cursor[0]}}}"
            )
        self.cursor += 1
        self.body_frame_left = -1
        return FRAME_BODY

    cdef bint _read_publish(self, const unsigned char *payload, Py_ssize_t size) noexcept:
        """Read the arguments of basic.publish. False when their sizes do not add up."""
        cdef Py_ssize_t exchange_size, routing_key_size
        if size < 9:
            return False
        exchange_size = payload[6]
        if size < 9 + exchange_size:
            return False
        routing_key_size = payload[7 + exchange_size]
        if size != 9 + exchange_size + routing_key_size:
            return False
        self.address = payload + 6
        self.address_size = 2 + exchange_size + routing_key_size
        self.flags = payload[size - 1]
        return True

    cdef bint _read_whole_content(self) noexcept:
        """Take the content too when header and body follow at once, each in one whole and faultless frame.

        Whatever is otherwise stays where it is, for the general path to judge.
        """
        cdef const unsigned char *header = self.cursor
        cdef const unsigned char *body
        cdef Py_ssize_t available = self.end - header
        cdef Py_ssize_t header_size
        cdef unsigned long long body_size

        if available < CONTENT_HEADER_SIZE_MIN + FRAME_OVERHEAD_SIZE:
            return False
        header_size = load_long(header + 3)
        if (
            header[0] != TYPE_HEADER
            or load_short(header + 1) != self.channel
            or header_size < CONTENT_HEADER_SIZE_MIN
            or (self.frame_max and header_size > self.frame_max)
            or available < header_size + FRAME_OVERHEAD_SIZE
            or header[7 + header_size] != FRAME_END
            or load_long(header + 7) != BASIC_CLASS << 16  # class id and a weight of zero
        ):
            return False
        body_size = load_longlong(header + 11)
        self.header = header + 7
        self.header_size = header_size
        clear_spare_flags(self.header)
        available -= header_size + FRAME_OVERHEAD_SIZE
        body = header + header_size + FRAME_OVERHEAD_SIZE
        if body_size == 0:
            self.payload = body
            self.payload_size = 0
            self.cursor = body
            return True
        if available < FRAME_OVERHEAD_SIZE or <unsigned long long>(available - FRAME_OVERHEAD_SIZE) < body_size:
            return False
        if (
            body[0] != TYPE_BODY
            or load_short(body + 1) != self.channel
            or load_long(body + 3) != body_size
            or (self.frame_max and body_size > self.frame_max)
            or body[7 + body_size] != FRAME_END
        ):
            return False
        self.payload = body + 7
        self.payload_size = <Py_ssize_t>body_size
        self.cursor = body + 8 + body_size
        return True

    cdef bint same_address(self, bytes known) noexcept:
        """Return whether the publish has this exchange and routing key."""
        return PyBytes_GET_SIZE(known) == self.address_size and not memcmp(
            PyBytes_AS_STRING(known), self.address, self.address_size
        )

    cdef bint same_header(self, bytes known) noexcept:
        """Return whether the content header is this one."""
        return PyBytes_GET_SIZE(known) == self.header_size and not memcmp(
            PyBytes_AS_STRING(known), self.header, self.header_size
        )

    cdef bytes address_octets(self):
        return PyBytes_FromStringAndSize(<const char *>self.address, self.address_size)

    cdef bytes header_octets(self):
        return PyBytes_FromStringAndSize(<const char *>self.header, self.header_size)

    cdef bytes payload_octets(self):
        return PyBytes_FromStringAndSize(<const char *>self.payload, self.payload_size)

    cdef bytes new_body(self, Py_ssize_t size):
        """Return ``size`` octets for ``copy_payload`` to fill. What is in them until then is chance."""
        return PyBytes_FromStringAndSize(NULL, size)

    cdef int copy_payload(self, bytes target, Py_ssize_t offset) except -1:
        """Copy the payload into ``target``, which nobody else has seen yet."""
        if offset + self.payload_size > PyBytes_GET_SIZE(target):
            raise ValueError("the payload does not fit")
        memcpy(PyBytes_AS_STRING(target) + offset, self.payload, self.payload_size)
        return 0

    def keep(self, bytes data):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        self.cursor = <const unsigned char *>PyBytes_AS_STRING(data)
        self.end = self.cursor + size
        self.keep_tail()

    def frames(self, ReadBuffer buffer, bytes data):
        cdef Py_ssize_t size = len(data)
        if size > buffer.size_bytes:
            raise ValueError(f"{size} octets do not fit into the buffer of {buffer.size_bytes}")
        memcpy(buffer.memory + buffer.headroom_bytes, PyBytes_AS_STRING(data), size)
        self.feed(buffer, size)
        found = []
        while self.next():
            if self.kind == FRAME_PUBLISH or self.kind == FRAME_CONTENT:
                found.append(("publish", self.channel, self.address[: self.address_size] + bytes([self.flags])))
            if self.kind == FRAME_CONTENT:
                found.append(("header", self.channel, self.header[: self.header_size]))
                if self.payload_size:
                    found.append(("body", self.channel, self.payload[: self.payload_size]))
            elif self.kind == FRAME_HEADER:
                found.append(("header", self.channel, self.payload[: self.payload_size]))
            elif self.kind == FRAME_BODY:
                found.append(("body", self.channel, self.payload[: self.payload_size]))
            elif self.kind == FRAME_METHOD:
                found.append(("method", self.channel, self.payload[: self.payload_size]))
            elif self.kind == FRAME_HEARTBEAT:
                found.append(("heartbeat", self.channel, b""))
            elif self.kind != FRAME_PUBLISH:
                name = {FRAME_ACK: "ack", FRAME_NACK: "nack", FRAME_REJECT: "reject"}[self.kind]
                found.append((name, self.channel, self.delivery_tag.to_bytes(8, "big") + bytes([self.flags])))
        self.keep_tail()
        return found
