cdef enum:
    DELIVERY_MODE_PERSISTENT = 2
    # Properties whose values may be refused: expiration and user-id.
    FLAGS_VALIDATED_ = (1 << 8) | (1 << 4)
    # Properties that may ask something of the broker: headers, reply-to and expiration.
    FLAGS_LOOKED_INTO_ = (1 << 13) | (1 << 9) | (1 << 8)
    FLAGS_CHECKED = FLAGS_VALIDATED_ | FLAGS_LOOKED_INTO_


cpdef int delivery_mode(bytes header) except -2
cpdef unsigned int property_flags(bytes header)
cpdef unsigned long long body_size(bytes header)
cpdef unsigned int class_id(bytes header)
cpdef unsigned int weight(bytes header)
