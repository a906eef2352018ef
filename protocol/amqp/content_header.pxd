cdef enum:
    DELIVERY_MODE_PERSISTENT = 2
    # Properties whose values a broker has to look at: expiration and user-id.
    FLAGS_CHECKED = (1 << 8) | (1 << 4)


cpdef int delivery_mode(bytes header) except -2
cpdef unsigned int property_flags(bytes header)
cpdef unsigned long long body_size(bytes header)
cpdef unsigned int class_id(bytes header)
cpdef unsigned int weight(bytes header)
