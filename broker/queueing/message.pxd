cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE

from storage.segment cimport Segment


@cython.final
@cython.no_gc
@cython.freelist(1024)
cdef class Message:
    cdef readonly bytes address
    cdef readonly bytes header
    cdef readonly bytes body
    cdef readonly bint persistent
    cdef readonly unsigned int traits
    # When it was published, in milliseconds since 1970; 0 as long as nobody needs to know.
    cdef public unsigned long long published_at_ms
    # Where the journal keeps it, None if it does not; how much of its record each queue that holds it answers for. Only
    # a message that is being paged out has a share and no segment.
    cdef Segment segment
    cdef unsigned int offset_units
    cdef public unsigned int share_units


cdef enum:
    # What a message takes in memory beside its octets.
    MESSAGE_OVERHEAD_BYTES = 200


cdef inline Py_ssize_t memory_of(Message message) noexcept:
    """Return about how many octets a message takes in memory."""
    return (
        PyBytes_GET_SIZE(message.body) + PyBytes_GET_SIZE(message.header) + PyBytes_GET_SIZE(message.address)
        + MESSAGE_OVERHEAD_BYTES
    )


cdef inline unsigned long long location_of(Message message) noexcept:
    """Return where the journal keeps a message that it keeps: number of the segment and offset there."""
    return message.segment.number << 32 | message.offset_units


cdef Message new_message(bytes address, bytes header, bytes body, bint persistent, unsigned int traits)
