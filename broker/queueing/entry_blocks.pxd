cdef struct ReadyEntry:
    # A message (an owned reference), or twice the place where the journal keeps it plus one, or 0: it was removed.
    unsigned long long held
    unsigned long long position
    # Of a message that is paged out.
    unsigned int body_size
    # Half of it is the share of its record, of a message that is paged out; the last bit says of every message whether
    # it was delivered before.
    unsigned int share_and_redelivered


cdef struct ReadyBlock:
    ReadyEntry *entries
    unsigned int capacity
    unsigned int start          # its entries are those from start to end, the first and the last not removed ones
    unsigned int end
    unsigned int present        # of them, those that are not removed
    unsigned int in_memory      # of them, those that are not paged out


cdef inline bint is_paged(ReadyEntry *entry) noexcept:
    return entry.held & 1


cdef inline bint was_delivered(ReadyEntry *entry) noexcept:
    return entry.share_and_redelivered & 1


cdef inline Py_ssize_t lower_bound(ReadyBlock *block, unsigned long long position) noexcept:
    """Return the place of the first entry of a block that is not before a position."""
    cdef Py_ssize_t low = block.start, high = block.end, middle
    while low < high:
        middle = (low + high) >> 1
        if block.entries[middle].position < position:
            low = middle + 1
        else:
            high = middle
    return low


cdef class EntryBlocks:
    cdef ReadyBlock *blocks          # those in use are the block_count ones from first_block on, by position
    cdef Py_ssize_t first_block
    cdef Py_ssize_t block_count
    cdef Py_ssize_t block_capacity
    cdef ReadyEntry *spare           # the room of a small block that ran empty
    cdef unsigned int spare_capacity
    cdef readonly Py_ssize_t count

    cdef Py_ssize_t _block_of(self, unsigned long long position) noexcept
    cdef ReadyEntry *_find(self, unsigned long long position, Py_ssize_t *block_index) noexcept
    cdef ReadyEntry *_slot_behind(self) except NULL
    cdef ReadyEntry *_slot(self, unsigned long long position) except NULL
    cdef void _trim(self, Py_ssize_t block_index) noexcept
    cdef void _tidy(self, Py_ssize_t block_index) noexcept
    cdef void _merge(self, Py_ssize_t block_index) noexcept
    cdef ReadyBlock *_add_block(self, Py_ssize_t at, unsigned int capacity, unsigned int start) except NULL
    cdef void _remove_block(self, Py_ssize_t block_index) noexcept
    cdef int _split(self, Py_ssize_t block_index) except -1
    cdef int _grow(self, ReadyBlock *block) except -1
