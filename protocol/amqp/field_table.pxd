cimport cython


cdef class _Decoder:
    cdef bytes data
    cdef Py_ssize_t item_count_max
    cdef Py_ssize_t items_left

    @cython.locals(name_end=Py_ssize_t, name=str, table=dict)
    cdef dict table(self, Py_ssize_t at, Py_ssize_t end, int depth)

    cdef list array(self, Py_ssize_t at, Py_ssize_t end, int depth)

    @cython.locals(tag=int, content=Py_ssize_t)
    cdef tuple value(self, Py_ssize_t at, Py_ssize_t end, int depth)

    @cython.locals(octets=bytes)
    cdef object _sized(self, int tag, Py_ssize_t at, Py_ssize_t end, int depth)

    cdef object _fixed(self, object form, Py_ssize_t at, Py_ssize_t end)

    cdef object _number(self, object form, Py_ssize_t at, Py_ssize_t end)


@cython.locals(parts=list, name=str, encoded=bytes)
cdef bytes _encode_fields(object table, int depth)


cdef bytes _with_size(bytes tag, bytes octets)


cdef bytes _encode_value(object value, int depth)
