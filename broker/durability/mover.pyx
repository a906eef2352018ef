"""Moving messages from an old segment of the journal to its end, so that the old one may go.

Whether a queue still holds a message, and where, is found out in the same step in which the copy is appended: between
two steps messages are delivered, settled, returned and paged. A message in memory belongs to its copy at once. One that
is paged out does so when the copy is written, as it may have to be read before.
"""

from collections import deque

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from storage.record import search

from broker.durability.leftovers import Leftovers

from broker.durability.message_record cimport QUEUE_ENTRY_SIZE, find_queues, is_timed
from broker.durability.queue_log cimport (
    RECORD_MOVED, RECORD_MOVED_TIMED, RECORD_PAGED, QueueLog, VirtualHostJournal,
)
from broker.queueing.contents cimport QueueContents
from broker.queueing.message cimport Message, location_of
from broker.queueing.ready cimport ReadyMessages
from broker.queueing.returns cimport Returns
from storage.journal cimport Journal
from storage.record cimport (
    KIND_SEALED, KIND_STOPPED, RECORD_ALIGNMENT, RECORD_HEADER_SIZE, RecordHeader, header_is_valid, record_is_valid,
    record_size,
)
from storage.segment cimport RECORD_UNIT_SIZE, Segment

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *)

cdef enum:
    # The bounds of one step.
    RECORDS_PER_STEP = 4096
    HOLDERS_PER_STEP = 4096
    MOVED_PER_STEP = 512
    MOVED_BYTES_PER_STEP = 1 << 18
    DELIVERIES_PER_STEP = 16384
    # A record that is looked for behind a damaged one has to come within so many bytes.
    SEARCH_SIZE_MAX = 8 << 20

cdef Py_ssize_t HUGE = 1 << 40


cdef class Holder:
    """A queue that holds the message of a record: in memory, or paged out if ``message`` is None."""

    cdef QueueContents contents
    cdef ReadyMessages part             # None: unacknowledged
    cdef Message message
    cdef unsigned int number
    cdef unsigned long long position
    cdef unsigned int share_units


cdef class Copy:
    """A message that is paged out, and whose copy is on its way to the disk."""

    cdef unsigned long long batch
    cdef unsigned int number
    cdef unsigned long long position
    cdef Segment before
    cdef unsigned long long old_location
    cdef unsigned int old_share_units
    cdef Segment after
    cdef unsigned long long location
    cdef unsigned int share_units
    cdef bint is_volatile


cdef class EvacuationMover:
    cdef VirtualHostJournal owner
    cdef object channels
    cdef Segment segment
    cdef list unseen                    # channels whose deliveries were not looked at yet
    cdef unsigned long long next_tag
    cdef bytes data
    cdef long long offset               # of the data in the segment
    cdef Py_ssize_t at
    cdef Py_ssize_t needed
    cdef bint ended
    cdef object copies                  # Copy, in the order of their batches
    cdef object leftovers               # those of the segment, once it has been gone through
    # What brings in messages that are paged out, a Pager; None where nobody does.
    cdef public object pager
    # At how many places of the segment there should be a whole record and is none, and the first of them.
    cdef readonly unsigned int damaged_count
    cdef readonly long long damaged_offset
    cdef readonly unsigned long long moved_bytes
    cdef readonly unsigned long long moved_count

    def __init__(self, VirtualHostJournal journal not None, channels):
        self.owner = journal
        self.channels = channels
        self.copies = deque()

    def begin(self, Segment segment not None):
        self.segment = segment
        self.owner.evacuated = segment
        segment.attention = True
        self.unseen = list(self.channels)
        self.next_tag = 0
        self.ended = False
        self.leftovers = None
        self.damaged_count = 0

    def prepare(self):
        cdef dict found
        if not self.unseen:
            return True
        found = self.owner.unacked
        channel = self.unseen[-1]
        if self.next_tag == 0 and channel.transaction is not None:
            self._collect_settlements(channel.transaction)
        self.next_tag = channel.unacked.collect_held(self.segment, self.next_tag, DELIVERIES_PER_STEP, found)
        if self.next_tag == 0:
            self.unseen.pop()
        return False

    def _collect_settlements(self, transaction):
        cdef Message message
        for message, position, queue in transaction.held_messages():
            if message.segment is self.segment and queue.log is not None:
                self.owner.unacked.setdefault(queue.log.number, {})[position] = message

    def offer(self, bytes data not None, long long offset):
        self.data = data
        self.offset = offset
        self.at = 0
        self.needed = 0

    def next_piece(self):
        if self.ended:
            return 0, 0
        return self.offset + self.at, self.needed

    def move(self):
        cdef const unsigned char *data = self.data
        cdef Py_ssize_t size = len(self.data)
        cdef const RecordHeader *header
        cdef Py_ssize_t length
        cdef int looked_at = 0
        cdef long long done = 0, moved_before = self.moved_bytes
        cdef unsigned long long counted_before = self.moved_count
        cdef uint32_t seed = self.segment.file.seed, epoch = self.segment.epoch
        while not self.ended and self.segment.live != 0:
            if (
                looked_at >= RECORDS_PER_STEP or done >= HOLDERS_PER_STEP
                or self.moved_count - counted_before >= MOVED_PER_STEP
                or <long long>self.moved_bytes - moved_before >= MOVED_BYTES_PER_STEP
            ):
                return False
            looked_at += 1
            if size - self.at < RECORD_HEADER_SIZE:
                return True
            header = <const RecordHeader *>(data + self.at)
            if not header_is_valid(data + self.at, HUGE, seed, epoch):
                return self._skip_damage()
            length = record_size(header.payload_size)
            if length > size - self.at:
                self.needed = length
                return True
            if header.kind == KIND_SEALED or header.kind == KIND_STOPPED:
                self.ended = True
            else:
                done += self._move_record(data + self.at, length)
            self.at += length
        return True

    cdef bint _skip_damage(self) except -1:
        """Go on behind a damaged stretch."""
        found, _ = search(self.data, self.at + RECORD_ALIGNMENT, self.segment.file.seed, self.segment.epoch, 0)
        if found >= 0 or len(self.data) >= SEARCH_SIZE_MAX or self.offset + len(self.data) >= self.segment.size:
            self._note_damage()
        if found >= 0:
            self.at = found
            return False
        if len(self.data) < SEARCH_SIZE_MAX and self.offset + len(self.data) < self.segment.size:
            self.needed = 2 * len(self.data)
            return True
        self.ended = True
        return True

    cdef int _note_damage(self) except -1:
        if self.damaged_count == 0:
            self.damaged_offset = self.offset + self.at
        self.damaged_count += 1
        return 0

    cdef Py_ssize_t _move_record(self, const unsigned char *record, Py_ssize_t length) except -1:
        """Move a record for those who need it; return how many may have to be asked."""
        cdef const RecordHeader *header = <const RecordHeader *>record
        cdef const unsigned char *payload = record + RECORD_HEADER_SIZE
        cdef const unsigned char *end = payload + header.payload_size
        cdef uint32_t queue_count, number
        cdef const unsigned char *at = find_queues(header.kind, payload, header.payload_size, &queue_count)
        cdef unsigned long long position, location
        cdef list holders = []
        cdef Holder holder
        cdef uint32_t index
        if at is NULL:
            return 0
        location = self.segment.number << 32 | <unsigned long long>((self.offset + self.at) // RECORD_UNIT_SIZE)
        for index in range(queue_count):
            memcpy(&number, at, 4)
            memcpy(&position, at + 4, 8)
            at += QUEUE_ENTRY_SIZE
            holder = self._find(number, position, location, header.kind == RECORD_PAGED)
            if holder is not None:
                holders.append(holder)
        if holders and queue_count > 1:
            holders = self._without_hidden(holders, location)
        if not holders:
            return queue_count
        if record_is_valid(record, length, self.segment.file.seed, self.segment.epoch):
            self._copy(
                header.kind == RECORD_PAGED, payload if is_timed(header.kind) else NULL, at, end - at, holders, location
            )
        else:
            self._note_damage()
        return queue_count

    cdef Holder _find(self, uint32_t number, unsigned long long position, unsigned long long location, bint is_volatile):
        """Find out whether a queue still needs the record at a place for its message at a position, and for what."""
        cdef QueueContents contents = self.owner.holders.get(number)
        cdef ReadyMessages part
        cdef Message message = None
        cdef Holder holder
        cdef dict by_position
        cdef unsigned int share_units = 0
        # The unacknowledged messages of a queue that was deleted are needed by nobody, but count until they are settled.
        part = contents.part_of(position) if contents is not None else None
        if part is not None:
            message = part.message_at(position)
            if message is None and part.location_at(position, &share_units) != location:
                return None
        elif not is_volatile:
            by_position = self.owner.unacked.get(number)
            message = by_position.get(position) if by_position is not None else None
            if message is None:
                return None
        else:
            return None
        if message is not None:
            if message.segment is not self.segment or is_volatile:
                return None
            share_units = message.share_units
        holder = Holder.__new__(Holder)
        holder.contents = contents
        holder.part = part
        holder.message = message
        holder.number = number
        holder.position = position
        holder.share_units = share_units
        return holder

    cdef list _without_hidden(self, list holders, unsigned long long location):
        """Leave out the holders of a message in memory that is in somebody else's hands too, who was not found."""
        cdef Holder holder, other
        cdef list kept = []
        cdef Py_ssize_t expected
        cdef dict by_position
        for holder in holders:
            if holder.message is not None:
                # One for each holder: the reference of the queue or the channel, and that of ``Holder``.
                expected = 0
                for other in holders:
                    if other.message is holder.message:
                        expected += 2
                        by_position = self.owner.unacked.get(other.number)
                        expected += by_position is not None and by_position.get(other.position) is holder.message
                if Py_REFCNT(<PyObject *>holder.message) > expected:
                    continue
            kept.append(holder)
        return kept

    cdef int _copy(
        self, bint is_volatile, const unsigned char *published_at_ms, const unsigned char *content,
        Py_ssize_t content_size, list holders, unsigned long long old_location
    ) except -1:
        """Append a copy of a record for its holders; ``published_at_ms`` is NULL where it does not say that."""
        cdef Journal journal = self.owner.journal
        cdef bint timed = published_at_ms is not NULL
        cdef uint32_t count = <uint32_t>len(holders)
        cdef Py_ssize_t size = (0 if is_volatile else 12 if timed else 4) + count * QUEUE_ENTRY_SIZE + content_size
        cdef unsigned char kind = RECORD_PAGED if is_volatile else RECORD_MOVED_TIMED if timed else RECORD_MOVED
        cdef unsigned char *at = journal.reserve(kind, size)
        cdef Holder holder
        cdef Segment after
        cdef unsigned int share_units, offset_units
        cdef list moved = []
        if timed:
            memcpy(at, published_at_ms, 8)
            at += 8
        if not is_volatile:
            memcpy(at, &count, 4)
            at += 4
        for holder in holders:
            memcpy(at, &holder.number, 4)
            memcpy(at + 4, &holder.position, 8)
            at += QUEUE_ENTRY_SIZE
        memcpy(at, content, content_size)
        # A transaction may be under way, as one unit, in several turns.
        journal.seal(self.owner.unit_depth == 0)
        after = journal.current
        size = record_size(size)
        offset_units = <unsigned int>((after.size - size) // RECORD_UNIT_SIZE)
        share_units = max(1, <unsigned int>(size // RECORD_UNIT_SIZE) // count)
        self.moved_bytes += size
        self.moved_count += 1
        if not is_volatile:
            self.segment.supersede()
        for holder in holders:
            after.retain(share_units)
            if holder.message is None:
                self._expect(holder, old_location, after, offset_units, share_units, is_volatile)
            else:
                self.segment.release(holder.share_units)
                if holder.message not in moved:
                    moved.append(holder.message)
        for message in moved:
            (<Message>message).segment = after
            (<Message>message).offset_units = offset_units
            (<Message>message).share_units = share_units
        if not is_volatile:
            for holder in holders:
                self._repeat_fate(holder, after)
        self.owner.want_commit()
        return 0

    cdef int _repeat_fate(self, Holder holder, Segment after) except -1:
        """Write behind the copy what the records say that may go with the old segment, or soon after it."""
        cdef QueueLog log = holder.contents.log if holder.contents is not None else None
        cdef Returns returns
        cdef unsigned int count
        if log is None:
            return 0
        returns = holder.contents.returns
        count = returns.count(holder.position)
        if count:
            log.put_return(holder.position, count, returns.not_before_ms(holder.position))
            after.settled_sequence = self.owner.journal.sequence
        if holder.position <= log.delivered_position:
            log.repeat_delivered()
            self.owner.note(after)
        return 0

    cdef int _expect(
        self, Holder holder, unsigned long long old_location, Segment after, unsigned int offset_units,
        unsigned int share_units, bint is_volatile
    ) except -1:
        cdef Copy copy = Copy.__new__(Copy)
        copy.batch = self.owner.journal.open_batch
        copy.number = holder.number
        copy.position = holder.position
        copy.before = self.segment
        copy.old_location = old_location
        copy.old_share_units = holder.share_units
        copy.after = after
        copy.location = after.number << 32 | offset_units
        copy.share_units = share_units
        copy.is_volatile = is_volatile
        self.copies.append(copy)
        return 0

    def written(self, unsigned long long batch):
        cdef Copy copy
        while self.copies:
            copy = self.copies[0]
            if copy.batch > batch:
                break
            self.copies.popleft()
            self._settle_down(copy)

    cdef int _settle_down(self, Copy copy) except -1:
        """Have a message belong to its copy, which is written now, unless it has gone meanwhile."""
        cdef QueueContents contents = self.owner.holders.get(copy.number)
        cdef ReadyMessages part = contents.part_of(copy.position) if contents is not None else None
        cdef Message message = None
        cdef dict by_position
        if part is not None:
            if part.relocate(copy.position, copy.old_location, copy.location, copy.share_units):
                copy.before.release(copy.old_share_units)
                return self._take_over(copy)
            message = part.message_at(copy.position)
        elif not copy.is_volatile:
            by_position = self.owner.unacked.get(copy.number)
            message = by_position.get(copy.position) if by_position is not None else None
        if message is not None and message.segment is copy.before and not copy.is_volatile:
            # It was paged in meanwhile, so nobody else holds it.
            copy.before.release(message.share_units)
            message.segment = copy.after
            message.offset_units = <unsigned int>copy.location
            message.share_units = copy.share_units
            return self._take_over(copy)
        copy.after.release(copy.share_units)
        if not copy.is_volatile:
            # Whatever becomes of the message, or has become of it meanwhile, is to be kept for the copy as well.
            self.owner.note(copy.after)
            copy.after.supersede()
        return 0

    cdef int _take_over(self, Copy copy) except -1:
        """Keep for a copy what became of its message while it was written: that it was delivered, or came back."""
        if not copy.is_volatile:
            copy.after.settled_sequence = self.owner.journal.sequence
            self.owner.note(copy.after)
        return 0

    @property
    def has_copies(self):
        return bool(self.copies)

    # What could not be moved

    def clear(self):
        if self.leftovers is None:
            self.leftovers = Leftovers(self, self.owner, self.segment, self.pager)
        return self.leftovers.step()

    @property
    def waits(self):
        return self.leftovers is not None and self.leftovers.waits

    def unacked_places(self):
        cdef Message message
        cdef list found = []
        for number, by_position in self.owner.unacked.items():
            for position, message in by_position.items():
                if message.segment is self.segment:
                    found.append((number, position, location_of(message), -1))
        return found

    def rewrite(self, unsigned long long location, list places):
        cdef list holders = []
        cdef Holder holder
        cdef Message message
        cdef bytes content
        cdef unsigned long long published_at_ms
        for number, position in places:
            holder = self._find(number, position, location, False)
            if (
                holder is not None and holder.message is not None
                and (holder.contents is None or holder.contents.log is not None)
                and location_of(holder.message) == location
            ):
                holders.append(holder)
        holders = self._without_hidden(holders, location)
        if not holders:
            return 0
        message = (<Holder>holders[0]).message
        content = b"".join((
            len(message.address).to_bytes(2, "little"), message.address,
            len(message.header).to_bytes(4, "little"), message.header, message.body,
        ))
        published_at_ms = message.published_at_ms
        self._copy(
            False, <const unsigned char *>&published_at_ms if published_at_ms else NULL, content, len(content),
            holders, location,
        )
        return len(content)

    def end(self):
        if self.copies:
            return False
        self.leftovers = None
        self.owner.evacuated = None
        self.owner.unacked.clear()
        self.data = None
        self.segment = None
        return True
