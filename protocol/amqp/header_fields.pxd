cdef enum:
    # What a broker has to do about a message because of its content header.
    TRAIT_EXPIRES_ = 1               # it has an expiration
    TRAIT_HIDDEN_ = 2                # it has fields that no client may see
    TRAIT_ROUTED_ = 4                # it has CC or BCC: more routing keys


cdef struct HeaderLayout:
    # Offsets into the content header payload; 0 where the property is missing.
    Py_ssize_t flags
    Py_ssize_t table                 # of the table's size
    Py_ssize_t table_end
    Py_ssize_t priority
    Py_ssize_t expiration            # of the short string's size
    Py_ssize_t reply_to
    Py_ssize_t message_id


cpdef unsigned int find_traits(bytes header) except? 0xffffffff
cpdef int priority_of(bytes header) except -2
cpdef long long expiration_of(bytes header) except -2
