cimport cython

from broker.clock cimport now_ms
from broker.queueing.due_heap cimport DueHeap
from broker.queueing.groups cimport MessageGroups
from broker.queueing.message cimport Message
from broker.queueing.budget cimport MemoryBudget
from broker.queueing.ready cimport NOT_HERE, PAGED_OUT, PagedMessage, ReadyMessages, body_size
from broker.queueing.waiting cimport WaitingMessages
from protocol.amqp.header_fields cimport expiration_of, priority_of

cdef unsigned long long NEVER
cdef unsigned int TRAIT_EXPIRES


@cython.final
cdef class Backlog:
    cdef readonly Py_ssize_t count
    cdef readonly unsigned long long size_bytes
    cdef readonly WaitingMessages waiting
    cdef readonly DueHeap expiries
    cdef readonly MessageGroups groups
    cdef readonly int max_priority
    cdef readonly long long message_ttl_ms
    cdef readonly bint delayed
    cdef readonly MemoryBudget budget
    cdef list _levels
    cdef int _top
    cdef bint _expiries_missing
    cdef list _unnoted
    cdef unsigned long long _unnoted_from
    cdef list _unsorted
    cdef bint _notes_sorted
    # Of the message that take_first() or remove() returned last.
    cdef readonly unsigned long long taken_position
    cdef readonly bint taken_redelivered

    cdef bint is_sorted(self) noexcept
    cdef Py_ssize_t sort_some(self, Py_ssize_t count_max) except -1
    cdef ReadyMessages _level_of(self, Message message)
    cpdef int offer(self, object message, unsigned long long position, bint redelivered) except -1
    cdef int _insert(self, object message, unsigned long long position, bint redelivered) except -1
    cpdef int delay(
        self, object message, unsigned long long position, bint redelivered, unsigned long long not_before_ms
    ) except -1
    cpdef Message take_first(self, bint no_ack)
    cpdef int settled(self, Message message, unsigned long long position) except -1
    cpdef bint first_is_paged(self)
    cpdef list parts(self)
    cdef ReadyMessages part_of(self, unsigned long long position)
    cpdef bint note_expiries(self, Py_ssize_t count_max) except -1
    cpdef int adopt(self, ReadyMessages messages, unsigned long long size_bytes) except -1
    cpdef object take_head(self, bint unread)
    cpdef object remove(self, unsigned long long position)
    cpdef unsigned long long expiry_of(self, Message message) except? 0
    cdef int _note_expiry(self, object message, unsigned long long position) except -1
    cdef int _forget_passed_expiries(self) except -1
    cpdef object take_expired(self, unsigned long long now, bint unread)
    cdef bint _is_paged(self, unsigned long long position) except -1
    cpdef bint release_arrival(self, unsigned long long now) except -1
    cpdef unsigned long long next_due_ms(self) except? 0
    cpdef unsigned long long delay_of(self, Message message) except? 0
