cimport cython

from broker.clock cimport now_ms
from broker.durability.queue_log cimport QueueLog
from broker.queueing.backlog cimport Backlog
from broker.queueing.consumer cimport Consumer
from broker.queueing.consumer_list cimport ConsumerList
from broker.queueing.contents cimport QueueContents
from broker.queueing.message cimport Message
from broker.queueing.ready cimport PagedMessage, ReadyMessages
from broker.turn cimport Turn

cdef unsigned int TRAIT_EXPIRES

cdef int BODY_SIZE_AS_MESSAGE_BITS


@cython.final
cdef class Queue(QueueContents):
    cdef readonly str name
    cdef readonly bint durable
    cdef readonly bint auto_delete
    cdef readonly object exclusive_owner
    cdef readonly dict arguments
    cdef readonly list consumers
    cdef public bint deleted
    cdef readonly Py_ssize_t unacked_count
    cdef readonly Turn turn
    cdef bint _pages_wanted
    cdef bint _step_wanted
    cdef readonly object settings
    cdef public object deduplicator
    cdef readonly int gate           # see broker.routing.gate
    cdef public unsigned long long timer_due_ms
    # Of the message that take() returned last.
    cdef readonly unsigned long long taken_position
    cdef readonly bint taken_redelivered
    cdef ConsumerList _consumers
    cdef bint _starved
    cdef readonly int pause_count
    cdef unsigned long long _next_position
    cdef unsigned long long _unused_since_ms
    cdef int _taken_return_count

    cpdef unsigned long long next_position(self) noexcept
    cpdef int enqueue(self, Message message, unsigned long long position, bint redelivered) except -1
    cpdef int wake(self) except -1
    cpdef int pause(self) except -1
    cpdef int resume(self) except -1
    cdef Consumer _consumer_with_credit(self)
    cdef int _hand_over(
        self, Consumer consumer, Message message, unsigned long long position, bint redelivered
    ) except -1
    cdef Message take(self, bint no_ack)
    cdef int settle(self, Message message, unsigned long long position) except -1
    cdef int reject(self, Message message, unsigned long long position) except -1
    cpdef int delivery_count(self, unsigned long long position) except -1
    cdef int requeue(self, Message message, unsigned long long position) except -1
    cdef int _enqueue_managed(self, Message message, unsigned long long position, bint redelivered) except -1
    cdef int _wake_managed(self) except -1
    cdef int _deliver_managed(self) except -1
    cdef int _requeue_managed(self, Message message, unsigned long long position) except -1
    cdef Backlog _manage(self)
    cdef int _after_arrival(self) except -1
    cdef bint _sort(self, Backlog backlog) except -1
    cdef int _drop_overflow(self) except -1
    cdef int _go_on_later(self) except -1
    cdef int _note_expiries(self) except -1
    cdef int _expire(self, unsigned long long now, int count_max) except -1
    cdef int _want_pages(self) except -1
    cdef int _read_ahead(self) except -1
    cpdef int on_paged_in(self) except -1
    cpdef bint waits_for_pages(self)
    cpdef int discard(self, object message, unsigned long long position, str reason) except -1
