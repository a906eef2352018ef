"""Sending an output buffer over a plain socket, without a copy and without the event loop's write queue."""

from libc.errno cimport EAGAIN, EINTR, errno

from protocol.amqp.writer cimport OutputBuffer

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
    Py_ssize_t send(int descriptor, const void *data, size_t size, int flags)


cdef Py_ssize_t transmit(int descriptor, OutputBuffer output) noexcept:
    """Send as much as the socket takes now.

    Returns how many octets went out, and -1 when the connection is broken. The caller must not have anything
    waiting in the transport, or the order would be lost.
    """
    cdef Py_ssize_t total = 0
    cdef Py_ssize_t sent
    while output.size_bytes:
        sent = send(descriptor, output.memory, output.size_bytes, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if errno == EINTR:
                continue
            return total if errno == EAGAIN else -1
        total += sent
        output.consume(sent)
    return total
