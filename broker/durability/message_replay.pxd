from libc.stdint cimport uint32_t

from broker.queueing.ready cimport ReadyMessages
from storage.replayer cimport Replayer
from storage.segment cimport Segment


cdef class ReplayedQueue:
    cdef public object definition
    cdef public unsigned long long next_position
    cdef public unsigned long long delivered_position
    cdef readonly ReadyMessages messages
    cdef readonly dict returns
    cdef readonly dict unrepeated_returns
    cdef readonly bint delivered_unrepeated
    cdef readonly set expiring


cdef class MessageReplay(Replayer):
    cdef object owner
    cdef readonly dict queues
    cdef dict _segments
    cdef unsigned int _last_number
    cdef ReplayedQueue _last_queue

    cdef int _take_publish(
        self, const unsigned char *at, Py_ssize_t size, Segment segment, uint32_t offset_units, uint32_t record_units
    ) except -1

    cdef ReplayedQueue _queue(self, unsigned int number)
