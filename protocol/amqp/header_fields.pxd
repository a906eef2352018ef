from protocol.amqp.content_header cimport HeaderLayout

cdef enum:
    # What a broker has to do about a message because of its content header.
    TRAIT_EXPIRES_ = 1               # it has an expiration
    TRAIT_HIDDEN_ = 2                # it has fields that no client may see
    TRAIT_ROUTED_ = 4                # it has CC or BCC: more routing keys


cdef unsigned int traits_within(const unsigned char *start, const HeaderLayout *layout) noexcept
cdef bytes put_reply_to(bytes header, Py_ssize_t at, bytes reply_to)
cpdef unsigned int find_traits(bytes header) except? 0xffffffff
cpdef int priority_of(bytes header) except -2
cpdef long long expiration_of(bytes header) except -2
