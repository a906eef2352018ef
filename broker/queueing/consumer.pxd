cimport cython

from broker.queueing.message cimport Message


cdef class DeliveryTarget:
    cdef bint has_credit(self, bint no_ack) noexcept
    cdef int deliver(
        self, Consumer consumer, Message message, unsigned long long position, bint redelivered
    ) except -1


@cython.final
cdef class Consumer:
    cdef readonly DeliveryTarget target
    cdef readonly object queue           # a Queue; its module imports this one
    cdef readonly str tag
    cdef readonly bytes wire_tag
    cdef readonly bint no_ack
    cdef readonly bint exclusive
    cdef readonly dict arguments
    cdef readonly unsigned int prefetch_count
    cdef readonly long long priority
    cdef public unsigned int unacked_count
    cdef public bint cancelled
    cdef bint passed_over                # had no credit when it was its turn

    cdef bint can_take(self) noexcept
