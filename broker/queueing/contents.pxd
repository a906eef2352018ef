from broker.durability.queue_log cimport QueueLog
from broker.queueing.backlog cimport Backlog
from broker.queueing.budget cimport MemoryBudget
from broker.queueing.groups cimport MessageGroups
from broker.queueing.message cimport Message
from broker.queueing.ready cimport NOT_HERE, PagedMessage, ReadyMessages, body_size
from broker.queueing.returns cimport Returns
from storage.fetcher cimport Fetch


cdef class QueueContents:
    cdef readonly QueueLog log
    cdef readonly MemoryBudget budget
    cdef readonly object host
    cdef ReadyMessages _ready
    cdef Backlog _backlog
    cdef unsigned long long _ready_bytes
    cdef readonly Returns returns
    # The number by which the journal knows the queue when it pages out what is not durable; 0 as long as it has not.
    cdef public unsigned int page_number
    cpdef Py_ssize_t ready_count(self)
    cpdef unsigned long long ready_bytes(self)
    cpdef Py_ssize_t paged_count(self)
    cpdef long long memory_bytes(self)
    cpdef Py_ssize_t page_out(self, long long keep_bytes, Py_ssize_t count_max, list unwritten) except -1
    cpdef bint page_out_one(
        self, unsigned long long position, Message message, unsigned long long location, unsigned int share_units
    ) except -1
    cpdef bint page_in(self, unsigned long long position, unsigned long long location, Message message) except -1
    cpdef Py_ssize_t collect_paged(self, Fetch fetch, Py_ssize_t count_max, long long size_max_bytes) except -1
    cpdef bint collect_one(self, Fetch fetch, unsigned long long position) except -1
    cpdef int forget_unread(self, PagedMessage message, unsigned long long position) except -1
    cdef list _detach(self)
    cdef ReadyMessages part_of(self, unsigned long long position)
    cpdef Py_ssize_t discard_some(self, list parts, Py_ssize_t count_max) except -1
