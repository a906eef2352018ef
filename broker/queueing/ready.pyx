"""The messages of a queue that wait for a consumer: a ring, and a heap for those that came back."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from broker.queueing.message cimport Message

cdef enum:
    RING_CAPACITY_MIN = 16
    # The ring of a queue that was drained keeps its memory up to this capacity, so that a live queue does not
    # allocate for each burst.
    RING_CAPACITY_KEPT = 4096


cdef class ReadyMessages:
    def __dealloc__(self):
        cdef Py_ssize_t index
        for index in range(self.ring_length):
            Py_XDECREF(self.ring[(self.ring_head + index) & (self.ring_capacity - 1)].message)
        for index in range(self.heap_length):
            Py_XDECREF(self.heap[index].message)
        free(self.ring)
        free(self.heap)

    def __len__(self):
        return self.length()

    cdef Py_ssize_t length(self) noexcept:
        return self.ring_length + self.heap_length

    cdef int append(self, Message message, unsigned long long position, bint redelivered) except -1:
        cdef ReadyEntry *entry
        if self.ring_length == self.ring_capacity:
            self._resize_ring(max(RING_CAPACITY_MIN, self.ring_capacity * 2))
        entry = &self.ring[(self.ring_head + self.ring_length) & (self.ring_capacity - 1)]
        Py_INCREF(message)
        entry.message = <PyObject *>message
        entry.position = position
        entry.redelivered = redelivered
        self.ring_length += 1
        return 0

    cdef int put_back(self, Message message, unsigned long long position, bint redelivered) except -1:
        cdef ReadyEntry *grown
        cdef Py_ssize_t child, parent
        if self.heap_length == self.heap_capacity:
            child = max(RING_CAPACITY_MIN, self.heap_capacity * 2)
            grown = <ReadyEntry *>realloc(self.heap, child * sizeof(ReadyEntry))
            if grown is NULL:
                raise MemoryError
            self.heap = grown
            self.heap_capacity = child
        child = self.heap_length
        self.heap_length += 1
        while child:
            parent = (child - 1) >> 1
            if self.heap[parent].position < position:
                break
            self.heap[child] = self.heap[parent]
            child = parent
        Py_INCREF(message)
        self.heap[child].message = <PyObject *>message
        self.heap[child].position = position
        self.heap[child].redelivered = redelivered
        return 0

    cdef Message take_first(self):
        """Take the message with the lowest position; None when there is none."""
        cdef ReadyEntry taken
        cdef Message message
        if self.heap_length:
            taken = self.heap[0]
            self._sink_last()
        elif self.ring_length == 0:
            return None
        else:
            taken = self.ring[self.ring_head]
            self.ring_head = (self.ring_head + 1) & (self.ring_capacity - 1)
            self.ring_length -= 1
            if self.ring_length == 0:
                self._shrink_ring()
        self.taken_position = taken.position
        self.taken_redelivered = taken.redelivered
        message = <Message>taken.message
        Py_XDECREF(taken.message)
        return message

    cdef int _resize_ring(self, Py_ssize_t capacity) except -1:
        cdef ReadyEntry *grown = <ReadyEntry *>malloc(capacity * sizeof(ReadyEntry))
        cdef Py_ssize_t first = min(self.ring_length, self.ring_capacity - self.ring_head)
        if grown is NULL:
            raise MemoryError
        if self.ring_length:
            memcpy(grown, self.ring + self.ring_head, first * sizeof(ReadyEntry))
            memcpy(grown + first, self.ring, (self.ring_length - first) * sizeof(ReadyEntry))
        free(self.ring)
        self.ring = grown
        self.ring_head = 0
        self.ring_capacity = capacity
        return 0

    cdef void _shrink_ring(self) noexcept:
        """Give the memory of a backlog back once it has drained; a small ring stays."""
        if self.ring_capacity > RING_CAPACITY_KEPT:
            free(self.ring)
            self.ring = NULL
            self.ring_head = 0
            self.ring_capacity = 0

    cdef void _sink_last(self) noexcept:
        cdef ReadyEntry last
        cdef Py_ssize_t hole = 0
        cdef Py_ssize_t child = 1
        self.heap_length -= 1
        last = self.heap[self.heap_length]
        while child < self.heap_length:
            if child + 1 < self.heap_length and self.heap[child + 1].position < self.heap[child].position:
                child += 1
            if last.position < self.heap[child].position:
                break
            self.heap[hole] = self.heap[child]
            hole = child
            child = 2 * hole + 1
        self.heap[hole] = last
        if self.heap_length == 0:
            free(self.heap)
            self.heap = NULL
            self.heap_capacity = 0

    def push(self, Message message, unsigned long long position, bint redelivered):
        self.append(message, position, redelivered)

    def restore(self, Message message, unsigned long long position, bint redelivered):
        self.put_back(message, position, redelivered)

    def pop(self):
        message = self.take_first()
        if message is None:
            return None
        return message, self.taken_position, bool(self.taken_redelivered)
