cdef bytes accept_plain(object channel, bytes header, bytes reply_name, int *mode, unsigned int *traits)
