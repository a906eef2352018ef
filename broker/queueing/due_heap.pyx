"""A heap of times and positions: what is due first."""

from heapq import heappop, heappush

from libc.stdlib cimport free, realloc

cdef enum:
    CAPACITY_MIN = 16


cdef inline bint comes_before(DueEntry *one, DueEntry *other) noexcept:
    """Of two that are due at the same time the lower position comes first."""
    return one.due_ms < other.due_ms or (one.due_ms == other.due_ms and one.position < other.position)


cdef class DueHeap:
    def __dealloc__(self):
        free(self.heap)

    def __len__(self):
        return self.count

    cdef Py_ssize_t length(self) noexcept:
        return self.count

    cdef unsigned long long first_due_ms(self) noexcept:
        return self.heap[0].due_ms if self.count else 0

    cdef unsigned long long first_position(self) noexcept:
        return self.heap[0].position if self.count else 0

    cpdef list due_positions(self, unsigned long long now, Py_ssize_t count_max):
        """Return the positions of up to ``count_max`` entries that are due, those that are due first; they stay."""
        cdef list places = []
        cdef list found = []
        cdef Py_ssize_t place = 0, child
        if self.count and self.heap[0].due_ms <= now:
            places.append((self.heap[0].due_ms, self.heap[0].position, 0))
        while places and len(found) < count_max:
            _, position, place = heappop(places)
            found.append(position)
            for child in range(2 * place + 1, min(2 * place + 3, self.count)):
                if self.heap[child].due_ms <= now:
                    heappush(places, (self.heap[child].due_ms, self.heap[child].position, child))
        return found

    cdef int push(self, unsigned long long due_ms, unsigned long long position) except -1:
        cdef DueEntry *grown
        cdef DueEntry added
        cdef Py_ssize_t child, parent
        if self.count == self.capacity:
            child = max(CAPACITY_MIN, 2 * self.capacity)
            grown = <DueEntry *>realloc(self.heap, child * sizeof(DueEntry))
            if grown is NULL:
                raise MemoryError
            self.heap = grown
            self.capacity = child
        added.due_ms = due_ms
        added.position = position
        child = self.count
        self.count += 1
        while child:
            parent = (child - 1) >> 1
            if not comes_before(&added, &self.heap[parent]):
                break
            self.heap[child] = self.heap[parent]
            child = parent
        self.heap[child] = added
        return 0

    cdef unsigned long long pop(self) noexcept:
        """Take out the position that is due first, 0 when there is none."""
        cdef DueEntry last
        cdef unsigned long long position
        cdef Py_ssize_t hole = 0
        cdef Py_ssize_t child = 1
        if self.count == 0:
            return 0
        position = self.heap[0].position
        self.count -= 1
        last = self.heap[self.count]
        while child < self.count:
            if child + 1 < self.count and comes_before(&self.heap[child + 1], &self.heap[child]):
                child += 1
            if not comes_before(&self.heap[child], &last):
                break
            self.heap[hole] = self.heap[child]
            hole = child
            child = 2 * hole + 1
        self.heap[hole] = last
        if self.count == 0:
            self.clear()
        return position

    cdef void clear(self) noexcept:
        free(self.heap)
        self.heap = NULL
        self.count = self.capacity = 0

    def times_between(self, unsigned long long first, unsigned long long last):
        cdef Py_ssize_t index
        times = {}
        for index in range(self.count):
            if first <= self.heap[index].position <= last:
                times[self.heap[index].position] = self.heap[index].due_ms
        return times

    def add(self, unsigned long long due_ms, unsigned long long position):
        self.push(due_ms, position)

    def take(self):
        if self.count == 0:
            return None
        due_ms = self.first_due_ms()
        return due_ms, self.pop()
