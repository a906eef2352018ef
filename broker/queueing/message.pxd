cimport cython

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
    # Set while durable queues hold the message: where the journal keeps it, and how many of them.
    cdef Segment segment
    cdef unsigned int holders


cdef Message new_message(bytes address, bytes header, bytes body, bint persistent, unsigned int traits)
