cimport cython


cdef long long NS_PER_S


@cython.final
cdef class Clock:
    cdef long long _second
    cdef str _beginning

    cpdef str now(self)


@cython.final
cdef class JsonLines:
    cdef Clock _clock


cdef str _field(str name, object value)
cdef bint _stands_for_itself(str text)
