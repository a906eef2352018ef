cimport cython

from broker.queueing.budget cimport MemoryBudget
from broker.queueing.entry_blocks cimport EntryBlocks, ReadyBlock, ReadyEntry
from broker.queueing.message cimport Message
from storage.fetcher cimport Fetch


cdef enum Whereabouts:
    NOT_HERE
    IN_MEMORY
    PAGED_OUT


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class PagedMessage:
    cdef readonly unsigned long long location
    cdef readonly unsigned int body_size
    cdef readonly unsigned int share_units


cpdef Py_ssize_t body_size(object message) except -1

cdef PagedMessage paged_message(unsigned long long location, unsigned int body_size, unsigned int share_units)


@cython.final
@cython.no_gc_clear
cdef class ReadyMessages(EntryBlocks):
    cdef MemoryBudget budget
    cdef readonly Py_ssize_t paged_count
    cdef readonly long long memory_bytes
    # Of the message that was taken or removed last.
    cdef readonly unsigned long long taken_position
    cdef readonly bint taken_redelivered

    cdef Py_ssize_t length(self) noexcept
    cdef bint is_empty(self) noexcept
    cdef unsigned long long first_position(self) noexcept
    cdef unsigned long long last_position(self) noexcept
    cdef bint first_is_paged(self) noexcept
    cdef bint wants_pages(self, Py_ssize_t count_min) noexcept
    cdef int append(self, Message message, unsigned long long position, bint redelivered) except -1
    cdef int insert(self, object message, unsigned long long position, bint redelivered) except -1
    cdef int append_paged(
        self, unsigned long long location, unsigned int body_size, unsigned int share_units,
        unsigned long long position, bint redelivered
    ) except -1
    cdef Message take_first(self)
    cdef object take_any(self)
    cdef object remove(self, unsigned long long position)
    cdef Whereabouts whereabouts(self, unsigned long long position) noexcept
    cpdef Py_ssize_t page_out(
        self, long long keep_bytes, Py_ssize_t count_max, list unwritten, bint recorded
    ) except -1
    cpdef bint page_out_one(
        self, unsigned long long position, Message message, unsigned long long location, unsigned int share_units
    ) except -1
    cpdef bint page_in(self, unsigned long long position, unsigned long long location, Message message) except -1
    cdef Py_ssize_t collect_paged(self, Fetch fetch, Py_ssize_t count_max, long long size_max_bytes) except -1
    cdef Py_ssize_t drop_between(
        self, unsigned long long first, unsigned long long last, dict segments
    ) except -1
    cdef void flag_redelivered(self, unsigned long long through) noexcept
    cdef unsigned long long adopted_by(self, MemoryBudget budget) noexcept
    cpdef bint collect_one(self, Fetch fetch, unsigned long long position) except -1
    cpdef bint relocate(
        self, unsigned long long position, unsigned long long before, unsigned long long after,
        unsigned int share_units=*
    ) noexcept
    cdef Message message_at(self, unsigned long long position)
    cdef unsigned long long location_at(self, unsigned long long position, unsigned int *share_units) noexcept

    cdef Message _own_copy(self, ReadyEntry *entry, Message message)
    cdef int _replace(
        self, ReadyEntry *entry, ReadyBlock *block, Message message, unsigned long long location,
        unsigned int share_units
    ) except -1
    cdef int _hold(self, ReadyEntry *entry, ReadyBlock *block, Message message) except -1
    cdef object _release(self, ReadyEntry *entry, ReadyBlock *block)
