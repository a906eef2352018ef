cdef struct DueEntry:
    unsigned long long due_ms
    unsigned long long position


cdef class DueHeap:
    cdef DueEntry *heap
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity

    cdef Py_ssize_t length(self) noexcept
    cdef unsigned long long first_due_ms(self) noexcept
    cdef int push(self, unsigned long long due_ms, unsigned long long position) except -1
    cdef unsigned long long pop(self) noexcept
    cdef unsigned long long first_position(self) noexcept
    cpdef list due_positions(self, unsigned long long now, Py_ssize_t count_max)
    cdef void clear(self) noexcept
