"""The messages of a queue that wait for a consumer: a ring, and a heap for those that came back."""

import operator

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
    # How many removed entries a ring or a heap may have beyond as many as are left.
    REMOVED_MAX = 1024


cdef object first_of = operator.itemgetter(0)


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
        return self.ring_length - self.ring_removed + (self.heap_length if self.index is None else len(self.index))

    cdef bint is_empty(self) noexcept:
        # What was removed never stands at an end of the ring, nor at the top of the heap.
        return self.ring_length == 0 and self.heap_length == 0

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
        if self.index is not None:
            self.index[position] = (message, redelivered)
        return 0

    cdef int insert(self, Message message, unsigned long long position, bint redelivered) except -1:
        """Take in a message, whichever position it has."""
        if self.ring_length and (
            self.ring[(self.ring_head + self.ring_length - 1) & (self.ring_capacity - 1)].position > position
        ):
            return self.put_back(message, position, redelivered)
        return self.append(message, position, redelivered)

    cdef Message take_first(self):
        """Take the message with the lowest position; None when there is none."""
        cdef ReadyEntry taken
        cdef Message message
        if self.heap_length and (
            self.ring_length == 0 or self.heap[0].position < self.ring[self.ring_head].position
        ):
            taken = self.heap[0]
            self._sink_last()
            if self.index is not None:
                # The entry may be one that was removed, and stands there for the same message that has come back.
                taken.redelivered = self.index.pop(taken.position)[1]
                self._trim_heap()
        elif self.ring_length == 0:
            return None
        else:
            taken = self.ring[self.ring_head]
            self.ring_head = (self.ring_head + 1) & (self.ring_capacity - 1)
            self.ring_length -= 1
            if self.ring_removed:
                self._trim_ring()
            if self.ring_length == 0:
                self._shrink_ring()
        self.taken_position = taken.position
        self.taken_redelivered = taken.redelivered
        message = <Message>taken.message
        Py_XDECREF(taken.message)
        return message

    cdef Message remove(self, unsigned long long position):
        """Take the message at a position out from wherever it stands; None when there is none."""
        cdef ReadyEntry *entry = self._find(position)
        cdef Message message
        if entry is NULL:
            if self.heap_length == 0:
                return None
            if self.index is None:
                self._build_index()
            indexed = self.index.pop(position, None)
            if indexed is None:
                return None
            self._trim_heap()
            self.taken_position = position
            self.taken_redelivered = indexed[1]
            return indexed[0]
        message = <Message>entry.message
        self.taken_position = position
        self.taken_redelivered = entry.redelivered
        entry.message = NULL
        Py_XDECREF(<PyObject *>message)
        self.ring_removed += 1
        self._trim_ring()
        if self.ring_removed > REMOVED_MAX and self.ring_removed > self.ring_length >> 1:
            self._compact_ring()
        return message

    cdef ReadyEntry *_find(self, unsigned long long position) noexcept:
        """Return the entry of the ring with a position, NULL if it is not there."""
        cdef Py_ssize_t low = 0, high = self.ring_length - 1, middle
        cdef ReadyEntry *entry
        while low <= high:
            middle = (low + high) >> 1
            entry = &self.ring[(self.ring_head + middle) & (self.ring_capacity - 1)]
            if entry.position == position:
                return entry if entry.message is not NULL else NULL
            if entry.position < position:
                low = middle + 1
            else:
                high = middle - 1
        return NULL

    cdef void _trim_ring(self) noexcept:
        """Drop the removed entries at both ends, so that the first one is a message."""
        while self.ring_removed and self.ring[self.ring_head].message is NULL:
            self.ring_head = (self.ring_head + 1) & (self.ring_capacity - 1)
            self.ring_length -= 1
            self.ring_removed -= 1
        while self.ring_removed and (
            self.ring[(self.ring_head + self.ring_length - 1) & (self.ring_capacity - 1)].message is NULL
        ):
            self.ring_length -= 1
            self.ring_removed -= 1
        if self.ring_length == 0:
            self._shrink_ring()

    cdef int _compact_ring(self) except -1:
        cdef Py_ssize_t index, kept = 0
        cdef ReadyEntry *entry
        for index in range(self.ring_length):
            entry = &self.ring[(self.ring_head + index) & (self.ring_capacity - 1)]
            if entry.message is not NULL:
                self.ring[(self.ring_head + kept) & (self.ring_capacity - 1)] = entry[0]
                kept += 1
        self.ring_length = kept
        self.ring_removed = 0
        return 0

    cdef int _build_index(self) except -1:
        cdef Py_ssize_t place
        self.index = {}
        for place in range(self.heap_length):
            self.index[self.heap[place].position] = (<Message>self.heap[place].message, self.heap[place].redelivered)
        return 0

    cdef int _trim_heap(self) except -1:
        """Drop what was removed from the top of the heap, or from all of it if it is most of it."""
        cdef ReadyEntry entry
        cdef Py_ssize_t place, kept = 0
        while self.heap_length and self.heap[0].position not in self.index:
            entry = self.heap[0]
            self._sink_last()
            Py_XDECREF(entry.message)
        if self.heap_length > 2 * len(self.index) + REMOVED_MAX:
            # What is left is put in again one by one: entries in ascending order would be a heap, these are not.
            left = [(position, indexed[0], indexed[1]) for position, indexed in self.index.items()]
            for place in range(self.heap_length):
                Py_XDECREF(self.heap[place].message)
            self.heap_length = 0
            for position, message, redelivered in sorted(left, key=first_of):
                self.put_back(message, position, redelivered)
        if self.heap_length == 0:
            self.index = None
        return 0

    def entries(self, unsigned long long from_position, Py_ssize_t count_max):
        cdef Py_ssize_t low = 0, high = self.ring_length, middle, place
        cdef ReadyEntry *entry
        if self.index is None:
            found = [
                (self.heap[place].position, <Message>self.heap[place].message, bool(self.heap[place].redelivered))
                for place in range(self.heap_length) if self.heap[place].position >= from_position
            ]
        else:
            found = [(at, indexed[0], bool(indexed[1])) for at, indexed in self.index.items() if at >= from_position]
        while low < high:
            middle = (low + high) >> 1
            if self.ring[(self.ring_head + middle) & (self.ring_capacity - 1)].position < from_position:
                low = middle + 1
            else:
                high = middle
        count = 0
        while low < self.ring_length and count < count_max:
            entry = &self.ring[(self.ring_head + low) & (self.ring_capacity - 1)]
            if entry.message is not NULL:
                found.append((entry.position, <Message>entry.message, bool(entry.redelivered)))
                count += 1
            low += 1
        found.sort(key=first_of)
        return found[:count_max]

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

    def place(self, Message message, unsigned long long position, bint redelivered):
        self.insert(message, position, redelivered)

    def discard(self, unsigned long long position):
        return self.remove(position)

    def pop(self):
        message = self.take_first()
        if message is None:
            return None
        return message, self.taken_position, bool(self.taken_redelivered)
