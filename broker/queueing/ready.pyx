"""The messages of a queue that wait for a consumer, in memory or paged out."""

from broker.queueing.budget import UNLIMITED

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF

from broker.queueing.budget cimport MemoryBudget, charge
from broker.queueing.entry_blocks cimport EntryBlocks, ReadyBlock, ReadyEntry, is_paged, lower_bound, was_delivered
from broker.queueing.message cimport Message, location_of, memory_of, new_message
from storage.fetcher cimport Fetch
from storage.segment cimport RECORD_UNIT_SIZE, Segment


cdef class PagedMessage:
    pass


cdef PagedMessage paged_message(unsigned long long location, unsigned int body_size, unsigned int share_units):
    cdef PagedMessage made = PagedMessage.__new__(PagedMessage)
    made.location = location
    made.body_size = body_size
    made.share_units = share_units
    return made


cpdef Py_ssize_t body_size(object message) except -1:
    """Return the size of a message's body, in memory or paged out."""
    if isinstance(message, Message):
        return len((<Message>message).body)
    return (<PagedMessage?>message).body_size


cdef class ReadyMessages(EntryBlocks):
    def __cinit__(self, MemoryBudget budget=UNLIMITED):
        self.budget = budget

    def __dealloc__(self):
        cdef Py_ssize_t index
        cdef unsigned int place
        cdef ReadyBlock *block
        for index in range(self.first_block, self.first_block + self.block_count):
            block = &self.blocks[index]
            for place in range(block.start, block.end):
                if not is_paged(&block.entries[place]):
                    Py_XDECREF(<PyObject *>block.entries[place].held)
        if self.budget is not None:
            self.budget.used_bytes -= self.memory_bytes

    def __len__(self):
        return self.count

    cdef Py_ssize_t length(self) noexcept:
        return self.count

    cdef bint is_empty(self) noexcept:
        return self.count == 0

    cdef unsigned long long first_position(self) noexcept:
        """Return the lowest position, 0 if there is none."""
        cdef ReadyBlock *block
        if self.count == 0:
            return 0
        block = &self.blocks[self.first_block]
        return block.entries[block.start].position

    cdef unsigned long long last_position(self) noexcept:
        """Return the highest position, 0 if there is none."""
        cdef ReadyBlock *block
        if self.count == 0:
            return 0
        block = &self.blocks[self.first_block + self.block_count - 1]
        return block.entries[block.end - 1].position

    cdef bint first_is_paged(self) noexcept:
        """Return whether the first message has to be paged in before it can be taken."""
        cdef ReadyBlock *block
        if self.count == 0:
            return False
        block = &self.blocks[self.first_block]
        return is_paged(&block.entries[block.start])

    cdef bint wants_pages(self, Py_ssize_t count_min) noexcept:
        """Return whether there are messages that are paged out among the first ``count_min``, or about as many."""
        cdef Py_ssize_t index = self.first_block
        cdef Py_ssize_t count = 0
        while index < self.first_block + self.block_count and count < count_min:
            if self.blocks[index].in_memory < self.blocks[index].present:
                return True
            count += self.blocks[index].present
            index += 1
        return False

    # Coming

    cdef int append(self, Message message, unsigned long long position, bint redelivered) except -1:
        cdef ReadyEntry *entry = self._slot_behind()
        entry.position = position
        entry.share_and_redelivered = redelivered
        return self._hold(entry, &self.blocks[self.first_block + self.block_count - 1], message)

    cdef int append_paged(
        self, unsigned long long location, unsigned int body_size, unsigned int share_units,
        unsigned long long position, bint redelivered
    ) except -1:
        """Append a message that is paged out. ``location`` is as ``location_of`` says."""
        cdef ReadyEntry *entry = self._slot_behind()
        entry.position = position
        entry.held = location << 1 | 1
        entry.body_size = body_size
        entry.share_and_redelivered = share_units << 1 | redelivered
        self.blocks[self.first_block + self.block_count - 1].present += 1
        self.count += 1
        self.paged_count += 1
        return 0

    cdef int insert(self, object message, unsigned long long position, bint redelivered) except -1:
        """Take in a message, in memory or paged out, whichever position it has."""
        cdef ReadyBlock *block
        cdef ReadyEntry *entry
        cdef PagedMessage paged
        if self.block_count:
            block = &self.blocks[self.first_block + self.block_count - 1]
            entry = (
                self._slot_behind() if block.entries[block.end - 1].position < position else self._slot(position)
            )
        else:
            entry = self._slot_behind()
        entry.position = position
        block = &self.blocks[self._block_of(position)]
        if isinstance(message, Message):
            entry.share_and_redelivered = redelivered
            return self._hold(entry, block, <Message>message)
        paged = <PagedMessage?>message
        entry.held = paged.location << 1 | 1
        entry.body_size = paged.body_size
        entry.share_and_redelivered = paged.share_units << 1 | redelivered
        block.present += 1
        self.count += 1
        self.paged_count += 1
        return 0

    cdef int _hold(self, ReadyEntry *entry, ReadyBlock *block, Message message) except -1:
        cdef Py_ssize_t size_bytes = memory_of(message)
        Py_INCREF(message)
        entry.held = <unsigned long long><PyObject *>message
        block.present += 1
        block.in_memory += 1
        self.count += 1
        self.memory_bytes += size_bytes
        return charge(self.budget, size_bytes)

    # Going

    cdef Message take_first(self):
        """Take the message with the lowest position; None when there is none, or when it is paged out."""
        cdef ReadyBlock *block
        cdef ReadyEntry *entry
        cdef Message message
        if self.count == 0:
            return None
        block = &self.blocks[self.first_block]
        entry = &block.entries[block.start]
        if is_paged(entry):
            return None
        self.taken_position = entry.position
        self.taken_redelivered = was_delivered(entry)
        message = <Message>self._release(entry, block)
        block.start += 1
        if block.present == 0:
            self._remove_block(self.first_block)
        elif block.entries[block.start].held == 0:
            self._trim(self.first_block)
        return message

    cdef object take_any(self):
        """Take the message with the lowest position, in memory or not; None when there is none."""
        cdef ReadyBlock *block
        if self.count == 0:
            return None
        block = &self.blocks[self.first_block]
        return self.remove(block.entries[block.start].position)

    cdef object remove(self, unsigned long long position):
        """Take the message at a position out, in memory or not; None when there is none."""
        cdef Py_ssize_t block_index = 0
        cdef ReadyEntry *entry = self._find(position, &block_index)
        cdef ReadyBlock *block
        if entry is NULL:
            return None
        block = &self.blocks[block_index]
        self.taken_position = position
        self.taken_redelivered = was_delivered(entry)
        message = self._release(entry, block)
        if block.present == 0:
            self._remove_block(block_index)
        else:
            self._trim(block_index)
            if 2 * block.present < block.end - block.start:
                self._tidy(block_index)
        return message

    cdef object _release(self, ReadyEntry *entry, ReadyBlock *block):
        """Empty an entry and return what it held."""
        cdef Message message
        cdef Py_ssize_t size_bytes
        cdef PyObject *held = <PyObject *>entry.held
        block.present -= 1
        self.count -= 1
        if is_paged(entry):
            self.paged_count -= 1
            paged = paged_message(entry.held >> 1, entry.body_size, entry.share_and_redelivered >> 1)
            entry.held = 0
            return paged
        message = <Message>held
        Py_XDECREF(held)
        entry.held = 0
        block.in_memory -= 1
        size_bytes = memory_of(message)
        self.memory_bytes -= size_bytes
        self.budget.used_bytes -= size_bytes
        return message

    # Paging

    cpdef Py_ssize_t page_out(
        self, long long keep_bytes, Py_ssize_t count_max, list unwritten, bint recorded
    ) except -1:
        """Let go of messages that the journal has on disk, the last ones first, until ``keep_bytes`` are left.

        Those that no journal keeps for this queue are added to ``unwritten``, as (position, message), and stay. None
        of a queue that is not durable is ``recorded``, whatever the journal has for others. Returns how many messages
        were one or the other, of at most ``count_max`` that are looked at.
        """
        cdef Py_ssize_t index = self.first_block + self.block_count
        cdef Py_ssize_t looked_at = 0, done = 0
        cdef long long left_bytes = self.memory_bytes
        cdef unsigned int place
        cdef ReadyBlock *block
        cdef ReadyEntry *entry
        cdef Message message
        while index > self.first_block and left_bytes > keep_bytes and looked_at < count_max:
            index -= 1
            block = &self.blocks[index]
            if block.in_memory == 0:
                continue
            place = block.end
            while place > block.start and left_bytes > keep_bytes and looked_at < count_max:
                place -= 1
                entry = &block.entries[place]
                if entry.held == 0 or is_paged(entry):
                    continue
                looked_at += 1
                message = <Message><PyObject *>entry.held
                left_bytes -= memory_of(message)
                if not recorded and message.segment is not None:
                    # Its share of the record is that of another queue.
                    message = self._own_copy(entry, message)
                if message.segment is None:
                    # One with a share is being written already.
                    if message.share_units == 0:
                        unwritten.append((entry.position, message))
                        done += 1
                elif <long long>message.offset_units * RECORD_UNIT_SIZE < message.segment.written_size:
                    self._replace(entry, block, message, location_of(message), message.share_units)
                    done += 1
        return done

    cdef Message _own_copy(self, ReadyEntry *entry, Message message):
        """Have an entry hold a message of its own, which is in no journal, and return it."""
        cdef Message copied = new_message(
            message.address, message.header, message.body, message.persistent, message.traits
        )
        copied.published_at_ms = message.published_at_ms
        Py_INCREF(copied)
        entry.held = <unsigned long long><PyObject *>copied
        Py_XDECREF(<PyObject *>message)
        return copied

    cdef int _replace(
        self, ReadyEntry *entry, ReadyBlock *block, Message message, unsigned long long location,
        unsigned int share_units
    ) except -1:
        cdef Py_ssize_t size_bytes = memory_of(message)
        entry.held = location << 1 | 1
        entry.body_size = <unsigned int>len(message.body)
        entry.share_and_redelivered = share_units << 1 | was_delivered(entry)
        block.in_memory -= 1
        self.paged_count += 1
        self.memory_bytes -= size_bytes
        self.budget.used_bytes -= size_bytes
        Py_XDECREF(<PyObject *>message)
        return 0

    cpdef bint page_out_one(
        self, unsigned long long position, Message message, unsigned long long location, unsigned int share_units
    ) except -1:
        """Let go of one message, if it is still here, because the journal keeps it at ``location`` for this queue."""
        cdef Py_ssize_t block_index = 0
        cdef ReadyEntry *entry = self._find(position, &block_index)
        if entry is NULL or entry.held != <unsigned long long><PyObject *>message:
            return False
        self._replace(entry, &self.blocks[block_index], message, location, share_units)
        return True

    cpdef bint page_in(self, unsigned long long position, unsigned long long location, Message message) except -1:
        """Take a message back into memory, if it is still here and nowhere else than at ``location``."""
        cdef Py_ssize_t block_index = 0
        cdef ReadyEntry *entry = self._find(position, &block_index)
        cdef ReadyBlock *block
        if entry is NULL or entry.held != (location << 1 | 1):
            return False
        block = &self.blocks[block_index]
        message.share_units = entry.share_and_redelivered >> 1
        entry.share_and_redelivered = was_delivered(entry)
        self.paged_count -= 1
        # It has been counted all the time.
        block.present -= 1
        self.count -= 1
        self._hold(entry, block, message)
        return True

    cdef Py_ssize_t collect_paged(self, Fetch fetch, Py_ssize_t count_max, long long size_max_bytes) except -1:
        """Add those among the first messages that are paged out to ``fetch``, and return how many they are.

        ``count_max`` and ``size_max_bytes`` say how far to look; one message always counts.
        """
        cdef Py_ssize_t index = self.first_block
        cdef Py_ssize_t looked_at = 0, added = 0
        cdef long long size_bytes = 0
        cdef unsigned int place
        cdef ReadyBlock *block
        cdef ReadyEntry *entry
        while index < self.first_block + self.block_count and looked_at < count_max and size_bytes < size_max_bytes:
            block = &self.blocks[index]
            index += 1
            if block.in_memory == block.present:
                looked_at += block.present
                continue
            for place in range(block.start, block.end):
                entry = &block.entries[place]
                if entry.held == 0:
                    continue
                looked_at += 1
                if is_paged(entry):
                    fetch.add(entry.position, entry.held >> 1, entry.body_size)
                    added += 1
                    size_bytes += entry.body_size
                else:
                    size_bytes += len((<Message><PyObject *>entry.held).body)
                if looked_at >= count_max or size_bytes >= size_max_bytes:
                    break
        return added

    cpdef bint collect_one(self, Fetch fetch, unsigned long long position) except -1:
        """Add the message at a position to ``fetch``, if it is here and paged out."""
        cdef Py_ssize_t block_index = 0
        cdef ReadyEntry *entry = self._find(position, &block_index)
        if entry is NULL or not is_paged(entry):
            return False
        fetch.add(position, entry.held >> 1, entry.body_size)
        return True

    cpdef bint relocate(
        self, unsigned long long position, unsigned long long before, unsigned long long after,
        unsigned int share_units=0
    ) noexcept:
        """Take in that the journal keeps a message that is paged out somewhere else now, for another share or not (0)."""
        cdef Py_ssize_t block_index = 0
        cdef ReadyEntry *entry = self._find(position, &block_index)
        if entry is NULL or entry.held != (before << 1 | 1):
            return False
        entry.held = after << 1 | 1
        if share_units:
            entry.share_and_redelivered = share_units << 1 | was_delivered(entry)
        return True

    # Recovery

    cdef Py_ssize_t drop_between(
        self, unsigned long long first, unsigned long long last, dict segments
    ) except -1:
        """Remove the messages at positions from ``first`` to ``last``, all of them paged out, and release their records.

        ``segments`` are those of the journal by number. Returns how many messages it were.
        """
        cdef Py_ssize_t dropped = 0
        cdef Py_ssize_t block_index, place
        cdef ReadyBlock *block
        cdef PagedMessage message
        cdef Segment segment
        while self.count:
            block_index = self._block_of(first)
            block = &self.blocks[block_index]
            place = lower_bound(block, first)
            while place < block.end and block.entries[place].held == 0:
                place += 1
            if place == block.end:
                block_index += 1
                if block_index == self.first_block + self.block_count:
                    break
                block = &self.blocks[block_index]
                place = block.start
            if block.entries[place].position > last:
                break
            message = self.remove(block.entries[place].position)
            segment = segments[message.location >> 32]
            segment.release(message.share_units)
            first = self.taken_position + 1
            dropped += 1
        return dropped

    cdef void flag_redelivered(self, unsigned long long through) noexcept:
        """Flag the messages up to a position as delivered before."""
        cdef Py_ssize_t index
        cdef unsigned int place
        cdef ReadyBlock *block
        for index in range(self.first_block, self.first_block + self.block_count):
            block = &self.blocks[index]
            if block.entries[block.start].position > through:
                break
            for place in range(block.start, block.end):
                if block.entries[place].position <= through:
                    block.entries[place].share_and_redelivered |= 1

    cdef unsigned long long adopted_by(self, MemoryBudget budget) noexcept:
        """Count what is in memory from now on in a budget; return the size of all bodies, which are paged out."""
        cdef unsigned long long size_bytes = 0
        cdef Py_ssize_t index
        cdef unsigned int place
        cdef ReadyBlock *block
        self.budget = budget
        for index in range(self.first_block, self.first_block + self.block_count):
            block = &self.blocks[index]
            for place in range(block.start, block.end):
                if block.entries[place].held:
                    size_bytes += block.entries[place].body_size
        return size_bytes

    # Looking

    cdef Whereabouts whereabouts(self, unsigned long long position) noexcept:
        """Return whether the message at a position is here, and in memory."""
        cdef Py_ssize_t block_index = 0
        cdef ReadyEntry *entry = self._find(position, &block_index)
        if entry is NULL:
            return NOT_HERE
        return PAGED_OUT if is_paged(entry) else IN_MEMORY

    cdef Message message_at(self, unsigned long long position):
        """Return the message at a position, which stays there; None if there is none in memory."""
        cdef Py_ssize_t block_index = 0
        cdef ReadyEntry *entry = self._find(position, &block_index)
        return None if entry is NULL or is_paged(entry) else <Message><PyObject *>entry.held

    cdef unsigned long long location_at(self, unsigned long long position, unsigned int *share_units) noexcept:
        """Return where the journal keeps the message at a position, and its share; 0 if it is not paged out here."""
        cdef Py_ssize_t block_index = 0
        cdef ReadyEntry *entry = self._find(position, &block_index)
        if entry is NULL or not is_paged(entry):
            return 0
        share_units[0] = entry.share_and_redelivered >> 1
        return entry.held >> 1

    def entries(self, unsigned long long from_position, Py_ssize_t count_max):
        cdef Py_ssize_t index, place
        cdef ReadyBlock *block
        cdef ReadyEntry *entry
        cdef list found = []
        if self.count == 0:
            return found
        index = self._block_of(from_position)
        place = lower_bound(&self.blocks[index], from_position)
        while index < self.first_block + self.block_count:
            block = &self.blocks[index]
            for place in range(place, block.end):
                entry = &block.entries[place]
                if entry.held == 0:
                    continue
                if len(found) >= count_max:
                    return found
                if is_paged(entry):
                    held = paged_message(entry.held >> 1, entry.body_size, entry.share_and_redelivered >> 1)
                else:
                    held = <Message><PyObject *>entry.held
                found.append((entry.position, held, bool(was_delivered(entry))))
            index += 1
            if index < self.first_block + self.block_count:
                place = self.blocks[index].start
        return found

    def find_in(self, unsigned long long number, unsigned long long from_position, Py_ssize_t count_max, list found):
        cdef Py_ssize_t index, place, looked_at = 0
        cdef ReadyBlock *block
        cdef ReadyEntry *entry
        cdef Message message
        if self.count == 0:
            return 0
        index = self._block_of(from_position)
        place = lower_bound(&self.blocks[index], from_position)
        while index < self.first_block + self.block_count:
            block = &self.blocks[index]
            if looked_at >= count_max:
                return block.entries[block.start].position
            for place in range(max(place, <Py_ssize_t>block.start), block.end):
                entry = &block.entries[place]
                looked_at += 1
                if entry.held == 0:
                    continue
                if is_paged(entry):
                    if entry.held >> 33 == number:
                        found.append((entry.position, entry.held >> 1, entry.body_size))
                else:
                    message = <Message><PyObject *>entry.held
                    if message.segment is not None and message.segment.number == number:
                        found.append((entry.position, location_of(message), -1))
            index += 1
            place = 0
        return 0

    # For callers that are not compiled

    def push(self, Message message, unsigned long long position, bint redelivered):
        self.append(message, position, redelivered)

    def place(self, message, unsigned long long position, bint redelivered):
        self.insert(message, position, redelivered)

    def discard(self, unsigned long long position):
        return self.remove(position)

    def pop(self):
        message = self.take_any()
        if message is None:
            return None
        return message, self.taken_position, bool(self.taken_redelivered)
