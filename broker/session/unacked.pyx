"""What a channel has delivered and not seen settled."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from broker.queueing.consumer cimport Consumer
from broker.queueing.message cimport Message
from broker.queueing.queue cimport Queue
from storage.segment cimport Segment

# Under their own names, for the modules in pure Python mode.
globals().update(Settlement.__members__)

cdef enum:
    CAPACITY_MIN = 16
    # The ring keeps its memory up to this capacity when it runs empty.
    CAPACITY_KEPT = 4096


cdef class UnackedDeliveries:
    def __dealloc__(self):
        cdef Py_ssize_t index
        cdef UnackedEntry *entry
        for index in range(self.length):
            entry = self._at(index)
            if entry.message is not NULL:
                Py_XDECREF(entry.message)
                Py_XDECREF(entry.queue)
                Py_XDECREF(entry.consumer)
        free(self.ring)

    cdef UnackedEntry *_at(self, Py_ssize_t index) noexcept:
        return &self.ring[(self.head + index) & (self.capacity - 1)]

    cdef int append(
        self, unsigned long long delivery_tag, Message message, unsigned long long position, Queue queue,
        Consumer consumer, unsigned int tick
    ) except -1:
        cdef UnackedEntry *entry
        if self.length == self.capacity:
            self._make_room()
        entry = self._at(self.length)
        self.length += 1
        self.count += 1
        Py_INCREF(message)
        Py_INCREF(queue)
        Py_INCREF(consumer)
        entry.delivery_tag = delivery_tag
        entry.position = position
        entry.message = <PyObject *>message
        entry.queue = <PyObject *>queue
        entry.consumer = <PyObject *>consumer
        entry.tick = tick
        return 0

    cdef bint contains(self, unsigned long long delivery_tag) noexcept:
        return self._find(delivery_tag) >= 0

    cdef unsigned long long first_tag(self) noexcept:
        """Return the tag of the oldest unsettled delivery, 0 when there is none."""
        return self._at(0).delivery_tag if self.length else 0

    cdef unsigned long long last_tag(self) noexcept:
        """Return the tag of the newest unsettled delivery, 0 when there is none."""
        return self._at(self.length - 1).delivery_tag if self.length else 0

    cdef Message take(self, unsigned long long delivery_tag):
        """Take a delivery out, and keep the rest of it in ``position``, ``queue`` and ``consumer``."""
        cdef Py_ssize_t index = self._find(delivery_tag)
        cdef UnackedEntry *entry
        cdef Message message
        if index < 0:
            return None
        entry = self._at(index)
        message = <Message>entry.message
        self.position = entry.position
        self.queue = <Queue>entry.queue
        self.consumer = <Consumer>entry.consumer
        Py_DECREF(message)
        Py_DECREF(self.queue)
        Py_DECREF(self.consumer)
        entry.message = NULL
        self.count -= 1
        self._trim()
        return message

    cdef bint reaches(self, unsigned long long delivery_tag, Py_ssize_t count) noexcept:
        """Return whether there may be more than so many deliveries up to a tag."""
        return self.length > count and self._at(count).delivery_tag <= delivery_tag

    cpdef Py_ssize_t settle_some(
        self, unsigned long long through_tag, Settlement how, Py_ssize_t count_max, dict queues
    ) except -1:
        cdef Py_ssize_t count = 0
        cdef Queue queue, previous = None
        cdef Message message
        self.settled_count = self.settled_of_consumers = 0
        while count < count_max and self.length and self._at(0).delivery_tag <= through_tag:
            message = self.take(self._at(0).delivery_tag)
            queue = self.queue
            count += 1
            self.settled_count = count
            if self.consumer is not None:
                self.consumer.unacked_count -= 1
                self.settled_of_consumers += 1
            if queue is not previous and queue not in queues:
                queues[queue] = None
                if how == REQUEUE:
                    queue.pause()
            previous = queue
            if how == REQUEUE:
                queue.requeue(message, self.position)
            elif how == ACKNOWLEDGE:
                queue.settle(message, self.position)
            else:
                queue.reject(message, self.position)
        return count

    @property
    def first_delivery_tag(self):
        return self.first_tag()

    @property
    def last_delivery_tag(self):
        return self.last_tag()

    cdef int forget_taken(self) except -1:
        """Let go of what take() returned last: the consumer knows its channel, and they would keep each other."""
        self.queue = None
        self.consumer = None
        return 0

    cdef Py_ssize_t _find(self, unsigned long long delivery_tag) noexcept:
        """Return the index of an unsettled delivery, -1 if there is none of that tag."""
        cdef Py_ssize_t low = 0, high = self.length - 1, middle
        cdef unsigned long long first, found
        if high < 0:
            return -1
        first = self._at(0).delivery_tag
        if delivery_tag < first:
            return -1
        # Tags without a gap before this one: the usual case.
        if delivery_tag - first <= <unsigned long long>high:
            middle = <Py_ssize_t>(delivery_tag - first)
            if self._at(middle).delivery_tag == delivery_tag:
                return middle if self._at(middle).message is not NULL else -1
            high = middle
        while low <= high:
            middle = (low + high) >> 1
            found = self._at(middle).delivery_tag
            if found == delivery_tag:
                return middle if self._at(middle).message is not NULL else -1
            if found < delivery_tag:
                low = middle + 1
            else:
                high = middle - 1
        return -1

    cdef int _make_room(self) except -1:
        """Drop the settled entries of a full ring, or let it grow where that would not free half of it."""
        cdef Py_ssize_t capacity = max(CAPACITY_MIN, self.capacity)
        cdef Py_ssize_t index = 0, kept
        cdef UnackedEntry *made
        if self.capacity and 2 * self.count > self.capacity:
            return self._grow()
        made = <UnackedEntry *>malloc(capacity * sizeof(UnackedEntry))
        if made is NULL:
            raise MemoryError
        kept = self._copy_unsettled(&index, <unsigned long long>-1, made)
        free(self.ring)
        self.ring = made
        self.head = 0
        self.length = kept
        self.capacity = capacity
        return 0

    cdef Py_ssize_t _copy_unsettled(
        self, Py_ssize_t *index, unsigned long long through_tag, UnackedEntry *to
    ) noexcept:
        """Copy the unsettled entries up to a tag, from ``index`` on, which goes on. Returns how many there were."""
        cdef Py_ssize_t count = 0
        cdef UnackedEntry *entry
        while index[0] < self.length and self._at(index[0]).delivery_tag <= through_tag:
            entry = self._at(index[0])
            index[0] += 1
            if entry.message is not NULL:
                to[count] = entry[0]
                count += 1
        return count

    cdef int _grow(self) except -1:
        """Double a full ring. Of many entries as few are moved as possible: others wait for it."""
        cdef Py_ssize_t capacity = 2 * self.capacity
        cdef Py_ssize_t behind = self.capacity - self.head
        cdef UnackedEntry *grown = <UnackedEntry *>realloc(self.ring, capacity * sizeof(UnackedEntry))
        if grown is NULL:
            raise MemoryError
        if self.head <= behind:
            memcpy(&grown[self.capacity], grown, self.head * sizeof(UnackedEntry))
        else:
            memcpy(&grown[capacity - behind], &grown[self.head], behind * sizeof(UnackedEntry))
            self.head = capacity - behind
        self.ring = grown
        self.capacity = capacity
        return 0

    cdef void _trim(self) noexcept:
        """Drop the settled entries at both ends, so that first_tag() and last_tag() are unsettled."""
        while self.length and self._at(0).message is NULL:
            self.head = (self.head + 1) & (self.capacity - 1)
            self.length -= 1
        while self.length and self._at(self.length - 1).message is NULL:
            self.length -= 1
        if self.length == 0 and self.capacity > CAPACITY_KEPT:
            free(self.ring)
            self.ring = NULL
            self.head = self.capacity = 0

    def push(
        self, unsigned long long delivery_tag, Message message not None, unsigned long long position,
        Queue queue not None, Consumer consumer, unsigned int tick=0
    ):
        self.append(delivery_tag, message, position, queue, consumer, tick)

    def pop(self, unsigned long long delivery_tag):
        return self.take(delivery_tag)

    def delivered_before(self, unsigned int tick, Py_ssize_t count_max):
        cdef Py_ssize_t index
        cdef UnackedEntry *entry
        found = []
        for index in range(self.length):
            entry = self._at(index)
            if entry.tick >= tick or len(found) == count_max:
                break
            if entry.message is not NULL:
                found.append((entry.delivery_tag, <Queue>entry.queue, <Consumer>entry.consumer, entry.tick))
        return found

    def collect_held(self, Segment segment not None, unsigned long long from_tag, Py_ssize_t count_max, dict found not None):
        cdef Py_ssize_t index = 0, high = self.length, middle
        cdef UnackedEntry *entry
        cdef Queue queue
        while index < high:
            middle = (index + high) >> 1
            if self._at(middle).delivery_tag < from_tag:
                index = middle + 1
            else:
                high = middle
        for index in range(index, min(self.length, index + count_max)):
            entry = self._at(index)
            if entry.message is not NULL and (<Message>entry.message).segment is segment:
                queue = <Queue>entry.queue
                if queue.log is not None:
                    found.setdefault(queue.log.number, {})[entry.position] = <Message>entry.message
            from_tag = entry.delivery_tag + 1
        return from_tag if self.length and from_tag <= self._at(self.length - 1).delivery_tag else 0

    def restore(self, list held not None):
        cdef Py_ssize_t capacity = CAPACITY_MIN, index = 0, place = 0
        cdef UnackedEntry *made
        cdef Message message
        cdef Queue queue
        cdef Consumer consumer
        cdef unsigned long long delivery_tag
        cdef unsigned int tick = 0
        while capacity < self.count + len(held):
            capacity *= 2
        made = <UnackedEntry *>malloc(capacity * sizeof(UnackedEntry))
        if made is NULL:
            raise MemoryError
        for delivery_tag, message, position, queue, consumer in held:
            place += self._copy_unsettled(&index, delivery_tag - 1, &made[place])
            if place:
                tick = made[place - 1].tick
            Py_INCREF(message)
            Py_INCREF(queue)
            Py_INCREF(consumer)
            made[place].delivery_tag = delivery_tag
            made[place].position = position
            made[place].message = <PyObject *>message
            made[place].queue = <PyObject *>queue
            made[place].consumer = <PyObject *>consumer
            made[place].tick = tick
            place += 1
        place += self._copy_unsettled(&index, <unsigned long long>-1, &made[place])
        free(self.ring)
        self.ring = made
        self.head = 0
        self.capacity = capacity
        self.length = self.count = place

    def tags(self):
        cdef Py_ssize_t index
        return [
            self._at(index).delivery_tag for index in range(self.length) if self._at(index).message is not NULL
        ]
