cimport cython

from broker.queueing.consumer cimport DeliveryTarget
from protocol.amqp cimport content_header
from protocol.amqp.reader cimport FrameReader


cdef int EXPECT_METHOD
cdef int EXPECT_HEADER
cdef int EXPECT_BODY


cdef class ContentReceiver(DeliveryTarget):
    cdef readonly unsigned long long max_message_size_bytes
    # The content that is being received, and how far.
    cdef int _content_state
    cdef bytes _content_address
    cdef unsigned int _content_flags
    cdef bytes _content_header
    cdef unsigned long long _content_left
    cdef bytes _content_body
    cdef list _content_pieces
    cdef Py_ssize_t _content_received

    @cython.final
    cdef int receive_publish(self, FrameReader reader) except -1
    @cython.final
    cdef int receive_header(self, FrameReader reader) except -1
    @cython.final
    cdef int receive_body(self, FrameReader reader) except -1
    @cython.final
    cdef Py_ssize_t received_of_body(self) noexcept
    @cython.final
    cdef int check_no_content(self) except -1
    @cython.final
    cdef int _complete_content(self) except -1
    cdef int take_content(self, bytes address, unsigned int flags, bytes header, bytes body) except -1
