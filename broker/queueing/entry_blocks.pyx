"""Entries in the order of positions: blocks of them, so that any number grows, shrinks and changes without a pause."""

from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

cdef enum:
    BLOCK_CAPACITY_MIN = 16
    BLOCK_CAPACITY_MAX = 1024
    # A queue that was drained keeps a block up to this capacity, so that a live one does not allocate for each burst.
    SPARE_CAPACITY_MAX = 256
    GROWTH = 4


cdef class EntryBlocks:
    def __dealloc__(self):
        cdef Py_ssize_t index
        for index in range(self.first_block, self.first_block + self.block_count):
            free(self.blocks[index].entries)
        free(self.blocks)
        free(self.spare)

    # Finding

    cdef Py_ssize_t _block_of(self, unsigned long long position) noexcept:
        """Return the index of the last block that begins at or before a position, else of the first one."""
        cdef Py_ssize_t low = self.first_block, high = self.first_block + self.block_count - 1, middle
        cdef ReadyBlock *block
        while low < high:
            middle = (low + high + 1) >> 1
            block = &self.blocks[middle]
            if block.entries[block.start].position <= position:
                low = middle
            else:
                high = middle - 1
        return low

    cdef ReadyEntry *_find(self, unsigned long long position, Py_ssize_t *block_index) noexcept:
        """Return the entry of the message at a position, and its block; NULL if there is none."""
        cdef ReadyBlock *block
        cdef Py_ssize_t place
        if self.count == 0:
            return NULL
        block_index[0] = self._block_of(position)
        block = &self.blocks[block_index[0]]
        place = lower_bound(block, position)
        if place == block.end or block.entries[place].position != position or block.entries[place].held == 0:
            return NULL
        return &block.entries[place]

    # Changing

    cdef ReadyEntry *_slot_behind(self) except NULL:
        """Return a new entry behind all others. The caller fills it in and counts it."""
        cdef ReadyBlock *block
        if self.block_count == 0:
            block = self._add_block(self.first_block, BLOCK_CAPACITY_MIN, 0)
        else:
            block = &self.blocks[self.first_block + self.block_count - 1]
            if block.end == block.capacity:
                if 2 * (block.end - block.start) <= block.capacity:
                    move_to_front(block)
                elif block.capacity < BLOCK_CAPACITY_MAX:
                    self._grow(block)
                else:
                    block = self._add_block(self.first_block + self.block_count, BLOCK_CAPACITY_MAX, 0)
        block.end += 1
        return &block.entries[block.end - 1]

    cdef ReadyEntry *_slot(self, unsigned long long position) except NULL:
        """Return a new entry at the place that a position has among the others."""
        cdef Py_ssize_t index = self._block_of(position)
        cdef ReadyBlock *block = &self.blocks[index]
        cdef Py_ssize_t place = lower_bound(block, position)
        cdef ReadyEntry *entries = block.entries
        if place < block.end and entries[place].position == position and entries[place].held != 0:
            raise RuntimeError(f"there is a message at position {position} already")
        # The places of messages that were removed are taken first.
        if place < block.end and entries[place].held == 0:
            return &entries[place]
        if place > block.start and entries[place - 1].held == 0:
            return &entries[place - 1]
        if place == block.start and block.start > 0:
            block.start -= 1
            return &entries[block.start]
        if place == block.end and block.end < block.capacity:
            block.end += 1
            return &entries[block.end - 1]
        if block.end == block.capacity and block.capacity < BLOCK_CAPACITY_MAX and block.start == 0:
            self._grow(block)
            return self._slot(position)
        if place == block.start and block.capacity == BLOCK_CAPACITY_MAX:
            # Before the first one: others are likely to come around it.
            block = self._add_block(index, BLOCK_CAPACITY_MAX, BLOCK_CAPACITY_MAX >> 1)
            block.end += 1
            return &block.entries[block.start]
        if place == block.end and block.capacity == BLOCK_CAPACITY_MAX:
            block = self._add_block(index + 1, BLOCK_CAPACITY_MAX, 0)
            block.end += 1
            return &block.entries[0]
        if block.end < block.capacity and (block.start == 0 or block.end - place <= place - block.start):
            memmove(&entries[place + 1], &entries[place], (block.end - place) * sizeof(ReadyEntry))
            block.end += 1
            return &entries[place]
        if block.start > 0:
            memmove(
                &entries[block.start - 1], &entries[block.start], (place - block.start) * sizeof(ReadyEntry)
            )
            block.start -= 1
            return &entries[place - 1]
        self._split(index)
        return self._slot(position)

    cdef int _grow(self, ReadyBlock *block) except -1:
        cdef unsigned int capacity = min(GROWTH * block.capacity, BLOCK_CAPACITY_MAX)
        cdef ReadyEntry *grown = <ReadyEntry *>realloc(block.entries, capacity * sizeof(ReadyEntry))
        if grown is NULL:
            raise MemoryError
        block.entries = grown
        block.capacity = capacity
        return 0

    cdef int _split(self, Py_ssize_t block_index) except -1:
        """Give the second half of a full block to a block of its own."""
        cdef unsigned int middle = BLOCK_CAPACITY_MAX >> 1
        cdef unsigned int place
        cdef ReadyBlock *added = self._add_block(block_index + 1, BLOCK_CAPACITY_MAX, 0)
        cdef ReadyBlock *block = &self.blocks[block_index]
        memcpy(added.entries, &block.entries[middle], (block.end - middle) * sizeof(ReadyEntry))
        added.end = block.end - middle
        block.end = middle
        for place in range(added.end):
            if added.entries[place].held:
                added.present += 1
                added.in_memory += not is_paged(&added.entries[place])
        block.present -= added.present
        block.in_memory -= added.in_memory
        self._trim(block_index)
        self._trim(block_index + 1)
        return 0

    cdef void _trim(self, Py_ssize_t block_index) noexcept:
        """Drop the removed entries at both ends of a block that has others."""
        cdef ReadyBlock *block = &self.blocks[block_index]
        while block.entries[block.start].held == 0:
            block.start += 1
        while block.entries[block.end - 1].held == 0:
            block.end -= 1

    cdef void _tidy(self, Py_ssize_t block_index) noexcept:
        """Drop the removed entries of a block, and give what is left to a neighbour that has room for it."""
        cdef ReadyBlock *block = &self.blocks[block_index]
        cdef ReadyBlock *before
        cdef unsigned int place, kept = 0
        for place in range(block.start, block.end):
            if block.entries[place].held:
                block.entries[kept] = block.entries[place]
                kept += 1
        block.start = 0
        block.end = kept
        if block_index + 1 < self.first_block + self.block_count:
            self._merge(block_index)
        if block_index > self.first_block:
            before = &self.blocks[block_index - 1]
            if 2 * (before.end - before.start + kept) <= before.capacity:
                self._merge(block_index - 1)

    cdef void _merge(self, Py_ssize_t block_index) noexcept:
        """Add the entries of the next block to those of this one, if half of it can take both."""
        cdef ReadyBlock *block = &self.blocks[block_index]
        cdef ReadyBlock *following = &self.blocks[block_index + 1]
        cdef unsigned int added = following.end - following.start
        if 2 * (block.end - block.start + added) > block.capacity:
            return
        move_to_front(block)
        memcpy(&block.entries[block.end], &following.entries[following.start], added * sizeof(ReadyEntry))
        block.end += added
        block.present += following.present
        block.in_memory += following.in_memory
        self._remove_block(block_index + 1)

    cdef ReadyBlock *_add_block(self, Py_ssize_t at, unsigned int capacity, unsigned int start) except NULL:
        """Add an empty block before the one at ``at``. Moves the blocks, and maybe those before them."""
        cdef ReadyBlock *grown
        cdef ReadyEntry *entries
        cdef Py_ssize_t offset = at - self.first_block
        if self.spare is not NULL and capacity <= self.spare_capacity:
            entries = self.spare
            capacity = self.spare_capacity
            self.spare = NULL
        else:
            entries = <ReadyEntry *>malloc(capacity * sizeof(ReadyEntry))
            if entries is NULL:
                raise MemoryError
        if offset == 0 and self.first_block > 0:
            self.first_block -= 1
        else:
            if self.first_block + self.block_count == self.block_capacity:
                if self.first_block > self.block_capacity >> 1:
                    memmove(self.blocks, self.blocks + self.first_block, self.block_count * sizeof(ReadyBlock))
                    self.first_block = 0
                else:
                    grown = <ReadyBlock *>realloc(
                        self.blocks, max(1, 2 * self.block_capacity) * sizeof(ReadyBlock)
                    )
                    if grown is NULL:
                        free(entries)
                        raise MemoryError
                    self.blocks = grown
                    self.block_capacity = max(1, 2 * self.block_capacity)
            memmove(
                self.blocks + self.first_block + offset + 1, self.blocks + self.first_block + offset,
                (self.block_count - offset) * sizeof(ReadyBlock),
            )
        self.block_count += 1
        grown = &self.blocks[self.first_block + offset]
        grown.entries = entries
        grown.capacity = capacity
        grown.start = grown.end = start
        grown.present = grown.in_memory = 0
        return grown

    cdef void _remove_block(self, Py_ssize_t block_index) noexcept:
        cdef ReadyBlock *block = &self.blocks[block_index]
        if block.capacity <= SPARE_CAPACITY_MAX:
            free(self.spare)
            self.spare = block.entries
            self.spare_capacity = block.capacity
        else:
            free(block.entries)
        self.block_count -= 1
        if self.block_count == 0:
            self.first_block = 0
        elif block_index == self.first_block:
            self.first_block += 1
        else:
            memmove(block, block + 1, (self.first_block + self.block_count - block_index) * sizeof(ReadyBlock))


cdef inline void move_to_front(ReadyBlock *block) noexcept:
    memmove(block.entries, &block.entries[block.start], (block.end - block.start) * sizeof(ReadyEntry))
    block.end -= block.start
    block.start = 0
