from storage.pthread cimport pthread_cond_t, pthread_mutex_t


cdef class Worker:
    cdef pthread_mutex_t mutex
    cdef pthread_cond_t changed
    cdef bint initialized
    cdef bint stopping
    cdef object thread

    cdef void _run(self) noexcept nogil
