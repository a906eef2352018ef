cpdef enum FrameKind:
    FRAME_NONE = 0       # the buffer holds no further whole frame
    FRAME_METHOD = 1     # payload: a method that has no fast path
    FRAME_HEADER = 2     # payload: a content header
    FRAME_BODY = 3       # payload: a piece of a content body, not necessarily a whole frame
    FRAME_PUBLISH = 4    # basic.publish whose content is not whole in the buffer yet
    FRAME_CONTENT = 5    # basic.publish with its whole content
    FRAME_ACK = 6        # basic.ack
    FRAME_NACK = 7       # basic.nack
    FRAME_REJECT = 8     # basic.reject
    FRAME_HEARTBEAT = 9

cdef enum:
    FRAME_OVERHEAD_SIZE = 8          # type, channel, size and end octet
    CONTENT_HEADER_SIZE_MIN = 14     # class id, weight, body size, property flags

    PUBLISH_MANDATORY = 1
    PUBLISH_IMMEDIATE = 2
    ACK_MULTIPLE = 1
    NACK_REQUEUE = 2
    REJECT_REQUEUE = 1

    # To copy so many octets costs less than an object that looks at them.
    COPIED_SIZE_MAX = 512


cdef inline unsigned int load_short(const unsigned char *at) noexcept nogil:
    return (<unsigned int>at[0] << 8) | at[1]


cdef inline unsigned int load_long(const unsigned char *at) noexcept nogil:
    return (<unsigned int>at[0] << 24) | (<unsigned int>at[1] << 16) | (<unsigned int>at[2] << 8) | at[3]


cdef inline unsigned long long load_longlong(const unsigned char *at) noexcept nogil:
    return (<unsigned long long>load_long(at) << 32) | load_long(at + 4)


cdef class ReadBuffer:
    cdef unsigned char *memory
    cdef readonly Py_ssize_t headroom_bytes
    cdef readonly Py_ssize_t size_bytes
    cdef readonly object view

    cdef object piece(self, Py_ssize_t size)


cdef class FrameReader:
    cdef const unsigned char *cursor
    cdef const unsigned char *end
    cdef unsigned char *tail
    cdef Py_ssize_t tail_size
    cdef public unsigned int frame_max
    cdef readonly bint lost              # the octets that follow cannot be told apart into frames any more
    cdef Py_ssize_t body_frame_left      # octets of the body frame at the cursor that are still to come, -1: none

    # The current frame. Pointers are valid until the next call of next(), feed() or keep_tail().
    cdef readonly int kind
    cdef readonly unsigned int channel
    cdef readonly unsigned int flags
    cdef readonly unsigned long long delivery_tag
    cdef const unsigned char *address
    cdef Py_ssize_t address_size
    cdef const unsigned char *payload    # method or piece of a body; of FRAME_CONTENT: the body
    cdef Py_ssize_t payload_size
    cdef const unsigned char *header     # content header payload
    cdef Py_ssize_t header_size

    cdef void feed(self, ReadBuffer buffer, Py_ssize_t size) noexcept
    cdef void feed_tail(self) noexcept
    cdef int keep_tail(self) except -1
    cdef int next(self) except -1
    cdef int _next_body_piece(self) except -1
    cdef bint same_address(self, bytes known) noexcept
    cdef bint same_header(self, bytes known) noexcept
    cdef bytes address_octets(self)
    cdef bytes header_octets(self)
    cdef bytes payload_octets(self)
    cdef bytes new_body(self, Py_ssize_t size)
    cdef int copy_payload(self, bytes target, Py_ssize_t offset) except -1
    cdef bint _read_publish(self, const unsigned char *payload, Py_ssize_t size) noexcept
    cdef bint _read_whole_content(self) noexcept
