cimport cython
from cpython.object cimport PyObject

from broker.queueing.message cimport Message


cdef struct ReadyEntry:
    PyObject *message                # owned
    unsigned long long position
    bint redelivered


@cython.final
cdef class ReadyMessages:
    cdef ReadyEntry *ring
    cdef Py_ssize_t ring_head
    cdef Py_ssize_t ring_length      # entries, with those that were removed between others
    cdef Py_ssize_t ring_removed     # of them; their message is NULL
    cdef Py_ssize_t ring_capacity    # a power of two, or zero
    cdef ReadyEntry *heap
    cdef Py_ssize_t heap_length
    cdef Py_ssize_t heap_capacity
    # Of an indexed heap: messages and whether they were redelivered, by position. What was removed is only missing
    # here.
    cdef dict index
    # Of the message that take_first() or remove() returned last.
    cdef readonly unsigned long long taken_position
    cdef readonly bint taken_redelivered

    cdef Py_ssize_t length(self) noexcept
    cdef bint is_empty(self) noexcept
    cdef int append(self, Message message, unsigned long long position, bint redelivered) except -1
    cdef int put_back(self, Message message, unsigned long long position, bint redelivered) except -1
    cdef int insert(self, Message message, unsigned long long position, bint redelivered) except -1
    cdef Message take_first(self)
    cdef Message remove(self, unsigned long long position)
    cdef ReadyEntry *_find(self, unsigned long long position) noexcept
    cdef void _trim_ring(self) noexcept
    cdef int _trim_heap(self) except -1
    cdef int _build_index(self) except -1
    cdef int _compact_ring(self) except -1
    cdef int _resize_ring(self, Py_ssize_t capacity) except -1
    cdef void _shrink_ring(self) noexcept
    cdef void _sink_last(self) noexcept
