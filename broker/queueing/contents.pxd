from broker.durability.queue_log cimport QueueLog
from broker.queueing.backlog cimport Backlog
from broker.queueing.message cimport Message
from broker.queueing.ready cimport ReadyMessages


cdef class QueueContents:
    cdef readonly QueueLog log
    cdef ReadyMessages _ready
    cdef Backlog _backlog
    cdef unsigned long long _ready_bytes
    cdef dict _return_counts
    cpdef Py_ssize_t ready_count(self)
    cpdef unsigned long long ready_bytes(self)
