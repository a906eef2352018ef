cimport cython

from broker.durability.queue_log cimport QueueLog
from broker.queueing.consumer cimport Consumer
from broker.queueing.message cimport Message
from broker.queueing.ready cimport ReadyMessages


@cython.final
cdef class Queue:
    cdef readonly str name
    cdef readonly bint durable
    cdef readonly bint auto_delete
    cdef readonly object exclusive_owner
    cdef readonly dict arguments
    cdef readonly QueueLog log
    cdef readonly list consumers
    cdef public bint deleted
    cdef readonly unsigned long long ready_bytes
    cdef readonly Py_ssize_t unacked_count
    cdef readonly object turn
    # Of the message that take() returned last.
    cdef readonly unsigned long long taken_position
    cdef readonly bint taken_redelivered
    cdef ReadyMessages _ready
    cdef Py_ssize_t _consumer_turn
    cdef bint _starved
    cdef unsigned long long _next_position

    cpdef Py_ssize_t ready_count(self)
    cdef unsigned long long next_position(self) noexcept
    cdef int enqueue(self, Message message, unsigned long long position, bint redelivered) except -1
    cpdef int wake(self) except -1
    cdef Consumer _consumer_with_credit(self)
    cdef int _hand_over(
        self, Consumer consumer, Message message, unsigned long long position, bint redelivered
    ) except -1
    cdef Message take(self, bint no_ack)
    cdef int settle(self, Message message, unsigned long long position) except -1
    cdef int requeue(self, Message message, unsigned long long position) except -1
