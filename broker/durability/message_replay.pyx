"""From the summaries of a journal's records to the messages that are left, all of them paged out."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from broker.durability.message_record cimport QUEUE_ENTRY_SIZE, Content, find_content, find_queues, holds_publish
from broker.durability.queue_log cimport RECORD_PAGED, RECORD_RETURN, RECORD_SETTLE, RECORD_UNIT_END
from broker.queueing.ready cimport PagedMessage, ReadyMessages, paged_message
from storage.index_stream cimport get_varint, put_varint
from storage.replayer cimport Replayer
from storage.segment cimport Segment

from broker.durability.queue_log import decode_return, decode_settle

cdef enum:
    EXPIRATION_FLAG = 0x0100        # among the property flags of a content header (specification, section 4.2.6.1)
    SUMMARY_EXPIRES = 1


cdef inline Py_ssize_t summarize_publish(
    unsigned char kind, const unsigned char *payload, Py_ssize_t size, unsigned char *to
) noexcept nogil:
    """Write flags, size of the body, and for each queue its number and the position there."""
    cdef Content content
    cdef unsigned char *start = to
    cdef uint32_t queue_count, number
    cdef uint64_t position
    cdef const unsigned char *at = find_queues(kind, payload, size, &queue_count)
    if at is NULL or not find_content(kind, payload, at + queue_count * QUEUE_ENTRY_SIZE, payload + size, &content):
        return -1
    to[0] = 0
    if content.header_size >= 14 and (content.header[12] << 8 | content.header[13]) & EXPIRATION_FLAG:
        to[0] = SUMMARY_EXPIRES
    to = put_varint(to + 1, <uint64_t>content.body_size)
    to = put_varint(to, queue_count)
    for _ in range(queue_count):
        memcpy(&number, at, 4)
        memcpy(&position, at + 4, 8)
        to = put_varint(put_varint(to, number), position)
        at += QUEUE_ENTRY_SIZE
    return to - start


cdef class ReplayedQueue:
    def __init__(self, definition):
        self.definition = definition
        self.next_position = definition.next_position
        self.delivered_position = definition.delivered_position
        self.messages = ReadyMessages()
        self.returns = {}
        self.unrepeated_returns = {}
        self.expiring = set()

    def positions(self):
        return [position for position, _, _ in self.messages.entries(0, len(self.messages))]


cdef class MessageReplay(Replayer):
    def __init__(self, owner):
        self.owner = owner
        self.queues = {}
        self._segments = {}

    cdef Py_ssize_t summarize(
        self, unsigned char kind, const unsigned char *payload, Py_ssize_t size, unsigned char *to
    ) noexcept nogil:
        cdef Py_ssize_t summary_size
        if holds_publish(kind):
            summary_size = summarize_publish(kind, payload, size, to)
            # What cannot be read is kept as it is, and refused when it is taken in.
            if summary_size >= 0:
                return summary_size
        elif kind == RECORD_PAGED:
            return 0
        memcpy(to, payload, size)
        return size

    cdef ReplayedQueue _queue(self, unsigned int number):
        if self._last_queue is None or self._last_number != number:
            self._last_queue = self.queues.get(number)
            if self._last_queue is None:
                self._last_queue = self.owner.recover_queue(number)
            self._last_number = number
        return self._last_queue

    cdef int take(
        self, unsigned char kind, uint64_t sequence, const unsigned char *summary, Py_ssize_t size, Segment segment,
        uint32_t offset_units, uint32_t record_units
    ) except -1:
        if holds_publish(kind):
            return self._take_publish(summary, size, segment, offset_units, record_units)
        if kind == RECORD_SETTLE:
            return self._take_settle(summary[:size])
        if kind == RECORD_RETURN:
            return self._take_return(summary[:size])
        if kind != RECORD_UNIT_END and kind != RECORD_PAGED:
            self.owner.take_state(kind, summary[:size])
            # Queues may have come and gone.
            self._last_queue = None
        return 0

    cdef int _take_publish(
        self, const unsigned char *at, Py_ssize_t size, Segment segment, uint32_t offset_units, uint32_t record_units
    ) except -1:
        cdef const unsigned char *end = at + size
        cdef uint64_t body_size = 0, queue_count = 0, number = 0, position = 0
        cdef unsigned int share_units, share_before = 0
        cdef uint64_t location
        cdef bint expires
        cdef ReplayedQueue queue
        if size == 0:
            raise ValueError("the summary of a message is empty")
        expires = at[0] & SUMMARY_EXPIRES
        at = get_varint(at + 1, end, &body_size)
        if at is not NULL:
            at = get_varint(at, end, &queue_count)
        if at is NULL:
            raise ValueError("the summary of a message is not whole")
        share_units = max(1, <unsigned int>(record_units // max(1, queue_count)))
        if segment.number not in self._segments:
            self._segments[segment.number] = segment
        while queue_count:
            queue_count -= 1
            at = get_varint(at, end, &number)
            if at is not NULL:
                at = get_varint(at, end, &position)
            if at is NULL:
                raise ValueError("the summary of a message is not whole")
            queue = self._queue(<unsigned int>number)
            # A publish that was on its way when its queue was deleted has nowhere to go.
            if queue is None:
                continue
            if queue.messages.count and position <= queue.messages.last_position():
                # One that was moved may still be where it was before, and whatever becomes of it counts there too.
                location = queue.messages.location_at(position, &share_before)
                if location:
                    (<Segment>self._segments[location >> 32]).supersede()
                queue.messages.drop_between(position, position, self._segments)
                if position in queue.returns:
                    queue.unrepeated_returns[position] = segment
                if position <= queue.delivered_position:
                    queue.delivered_unrepeated = True
                queue.messages.insert(
                    paged_message(segment.number << 32 | offset_units, <unsigned int>body_size, share_units),
                    position, False,
                )
            else:
                queue.messages.append_paged(
                    segment.number << 32 | offset_units, <unsigned int>body_size, share_units, position, False
                )
            segment.retain(share_units)
            if expires:
                queue.expiring.add(position)
            if position >= queue.next_position:
                queue.next_position = position + 1
        return 0

    def _take_settle(self, payload):
        cdef ReplayedQueue queue
        number, delivered_position, ranges = decode_settle(payload)
        queue = self.queues.get(number)
        if queue is None:
            return 0
        queue.delivered_position = max(queue.delivered_position, delivered_position)
        queue.delivered_unrepeated = False
        for first, last in ranges:
            queue.next_position = max(queue.next_position, last + 1)
            if not queue.messages.drop_between(first, last, self._segments) or not queue.returns:
                continue
            if last - first < len(queue.returns):
                for position in range(first, last + 1):
                    queue.returns.pop(position, None)
            else:
                queue.returns = {at: held for at, held in queue.returns.items() if not first <= at <= last}
        return 0

    def _take_return(self, payload):
        cdef ReplayedQueue queue
        number, position, count, not_before_ms = decode_return(payload)
        queue = self.queues.get(number)
        if queue is not None and queue.messages.whereabouts(position):
            queue.returns[position] = (count, not_before_ms)
            queue.unrepeated_returns.pop(position, None)
            if position > queue.delivered_position:
                # So it had been delivered. Should this record be damaged one day, another one is to say so.
                queue.delivered_position = position
                queue.delivered_unrepeated = True
        return 0

    def close(self):
        self.owner = self._last_queue = None
        self.queues.clear()

    def forget_queue(self, unsigned int number):
        cdef ReplayedQueue queue = self.queues.pop(number, None)
        self._last_queue = None
        if queue is not None:
            queue.messages.drop_between(0, <unsigned long long>-1, self._segments)
