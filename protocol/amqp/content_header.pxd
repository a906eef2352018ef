cdef enum:
    DELIVERY_MODE_PERSISTENT = 2
    # Properties whose values may be refused: expiration and user-id.
    FLAGS_VALIDATED_ = (1 << 8) | (1 << 4)
    # Properties that may ask something of the broker: headers, reply-to and expiration.
    FLAGS_LOOKED_INTO_ = (1 << 13) | (1 << 9) | (1 << 8)
    FLAGS_CHECKED = FLAGS_VALIDATED_ | FLAGS_LOOKED_INTO_


cdef struct HeaderLayout:
    # Offsets into the content header payload; 0 where the property is missing.
    Py_ssize_t flags
    Py_ssize_t table                 # of the table's size
    Py_ssize_t table_end
    Py_ssize_t priority
    Py_ssize_t expiration            # of the short string's size
    Py_ssize_t reply_to
    Py_ssize_t message_id
    Py_ssize_t user_id


cdef int walk(bytes header, HeaderLayout *found) noexcept
cpdef int delivery_mode(bytes header) except -2
cpdef unsigned int property_flags(bytes header)
cpdef unsigned long long body_size(bytes header)
cpdef unsigned int class_id(bytes header)
cpdef unsigned int weight(bytes header)
