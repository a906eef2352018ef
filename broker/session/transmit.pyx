"""Sending over a socket, without a copy and without the event loop's write queue.

The caller must not have anything waiting in the transport, or the order would be lost.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memset

from protocol.amqp.writer cimport OutputBuffer, iovec

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    Py_ssize_t sendmsg(int descriptor, const msghdr *message, int flags)
    Py_ssize_t send(int descriptor, const void *octets, size_t size, int flags)

cdef enum:
    # A megabyte in frames of 128 KiB, with what is between them.
    PARTS_MAX = 32


cdef Py_ssize_t transmit(int descriptor, OutputBuffer output) noexcept:
    """Send as much as the socket takes now.

    Returns how many octets went out, and -1 when the connection is broken.
    """
    cdef Py_ssize_t total = 0
    cdef Py_ssize_t sent
    cdef iovec parts[PARTS_MAX]
    cdef msghdr message
    memset(&message, 0, sizeof(message))
    message.msg_iov = parts
    while output.size_bytes:
        message.msg_iovlen = output.gather(parts, PARTS_MAX)
        sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if errno == EINTR:
                continue
            return total if errno == EAGAIN else -1
        total += sent
        output.consume(sent)
    return total


cdef Py_ssize_t transmit_octets(int descriptor, bytes octets) noexcept:
    """Send as much of ``octets`` as the socket takes now.

    Returns how many went out, and -1 when the connection is broken.
    """
    cdef Py_ssize_t size = PyBytes_GET_SIZE(octets)
    cdef Py_ssize_t total = 0
    cdef Py_ssize_t sent
    while total < size:
        sent = send(descriptor, PyBytes_AS_STRING(octets) + total, size - total, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if errno == EINTR:
                continue
            return total if errno == EAGAIN else -1
        total += sent
    return total
