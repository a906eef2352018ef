cimport cython


@cython.locals(at=Py_ssize_t, end=Py_ssize_t, start=Py_ssize_t, bit=int, values=dict, name=str, kind=str, octets=bytes)
cdef tuple _decode_arguments(bytes payload, object layout)
