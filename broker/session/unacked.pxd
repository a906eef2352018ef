from cpython.object cimport PyObject

from broker.queueing.consumer cimport Consumer
from broker.queueing.message cimport Message
from broker.queueing.queue cimport Queue


cpdef enum Settlement:
    # How a delivery is settled.
    ACKNOWLEDGE = 1
    REJECT = 2
    REQUEUE = 3


cdef struct UnackedEntry:
    unsigned long long delivery_tag
    unsigned long long position
    PyObject *message                # owned; NULL once settled
    PyObject *queue                  # owned
    PyObject *consumer               # owned; None for basic.get
    unsigned int tick                # when it was delivered, see Turn.tick


cdef class UnackedDeliveries:
    cdef UnackedEntry *ring
    cdef Py_ssize_t head
    cdef Py_ssize_t length           # entries in the ring, settled ones between others included
    cdef Py_ssize_t capacity
    cdef readonly Py_ssize_t count   # deliveries that are not settled
    # The delivery that take() returned last.
    cdef readonly unsigned long long position
    cdef readonly Queue queue
    cdef readonly Consumer consumer
    # What settle_some() has settled last, also if it has raised.
    cdef readonly Py_ssize_t settled_count
    cdef readonly Py_ssize_t settled_of_consumers

    cdef int append(
        self, unsigned long long delivery_tag, Message message, unsigned long long position, Queue queue,
        Consumer consumer, unsigned int tick
    ) except -1
    cdef bint contains(self, unsigned long long delivery_tag) noexcept
    cdef unsigned long long first_tag(self) noexcept
    cdef unsigned long long last_tag(self) noexcept
    cdef Message take(self, unsigned long long delivery_tag)
    cdef bint reaches(self, unsigned long long delivery_tag, Py_ssize_t count) noexcept
    cpdef Py_ssize_t settle_some(
        self, unsigned long long through_tag, Settlement how, Py_ssize_t count_max, dict queues
    ) except -1
    cdef int forget_taken(self) except -1
    cdef Py_ssize_t _find(self, unsigned long long delivery_tag) noexcept
    cdef UnackedEntry *_at(self, Py_ssize_t index) noexcept
    cdef int _make_room(self) except -1
    cdef int _grow(self) except -1
    cdef Py_ssize_t _copy_unsettled(self, Py_ssize_t *index, unsigned long long through_tag, UnackedEntry *to) noexcept
    cdef void _trim(self) noexcept
