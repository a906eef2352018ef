"""The journal's records of messages: how they are written, and read back.

All integers are little-endian. Strings are preceded by their size.

    publish     u32 queue count, then for each: u32 queue number, u64 position
                u16 address size, address, u32 header size, header, and the body to the end of the record
    settle      u32 queue number, u64 delivered position, then to the end of the record: u64 first, u64 last position
    unit end    nothing; it closes a unit of several records
    timed       u64 when it was published, in milliseconds since 1970, and the rest as publish: a message that has to
    publish     expire, or to wait, by the clock
    return      u32 queue number, u64 position, u32 delivery count, u64 not before, in milliseconds since 1970: a
                message came back to a queue that counts deliveries or lets what comes back wait
    definition  see broker.durability.definitions
    paged       u32 queue number, u64 position, u64 when it was published, u8 whether it is persistent, and from the
                address on as publish: a message that is in no record above, paged out until the broker stops
    moved       as publish: a copy of a message, for those queues that still hold it, from an older segment that is to go
    moved       as timed publish, likewise
    timed
    seen        see broker.durability.definitions: the keys of messages that must not come twice
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from broker.queueing.message cimport Message
from protocol.amqp.header_fields cimport find_traits
from storage.journal cimport Journal
from storage.record cimport record_size
from storage.segment cimport RECORD_UNIT_SIZE, Segment

cdef enum:
    QUEUE_ENTRY_SIZE = 12
    PAGED_SIZE = 21
    CONTENT_SIZE = 6
    RANGE_SIZE = 16
    # A settle record holds at most this many ranges; with more, several are written.
    RANGE_COUNT_MAX = 4096
    RANGE_CAPACITY_KEPT = 64

RECORD_KINDS = {
    "publish": RECORD_PUBLISH,
    "settle": RECORD_SETTLE,
    "unit_end": RECORD_UNIT_END,
    "publish_timed": RECORD_PUBLISH_TIMED,
    "return": RECORD_RETURN,
    "moved": RECORD_MOVED,
    "moved_timed": RECORD_MOVED_TIMED,
    "paged": RECORD_PAGED,
    "definition": RECORD_DEFINITION,
    "seen": RECORD_SEEN,
}


cdef inline unsigned char *put(unsigned char *at, const void *value, Py_ssize_t size) noexcept nogil:
    memcpy(at, value, size)
    return at + size


cdef inline Py_ssize_t content_size(Message message) noexcept:
    """Return how much of a payload address, header and body take."""
    return (
        CONTENT_SIZE + PyBytes_GET_SIZE(message.address) + PyBytes_GET_SIZE(message.header)
        + PyBytes_GET_SIZE(message.body)
    )


cdef inline unsigned char *put_content(unsigned char *at, Message message) noexcept:
    cdef unsigned short address_size = <unsigned short>PyBytes_GET_SIZE(message.address)
    cdef unsigned int header_size = <unsigned int>PyBytes_GET_SIZE(message.header)
    at = put(put(at, &address_size, 2), PyBytes_AS_STRING(message.address), address_size)
    at = put(put(at, &header_size, 4), PyBytes_AS_STRING(message.header), header_size)
    return put(at, PyBytes_AS_STRING(message.body), PyBytes_GET_SIZE(message.body))


cpdef unsigned int paged_share_units(Message message) noexcept:
    """Return the size of the record that ``write_paged`` writes, in units."""
    return <unsigned int>(record_size(PAGED_SIZE + content_size(message)) // RECORD_UNIT_SIZE)


cdef class QueueLog:
    def __cinit__(self, VirtualHostJournal owner not None, unsigned int number):
        self.owner = owner
        self.number = number

    def __dealloc__(self):
        free(self.ranges)

    cdef int acknowledge(self, Message message, unsigned long long position) except -1:
        """The queue has done with a message. One that is not in the journal costs nothing."""
        if message.segment is None:
            return 0
        self.owner.journal.release(message.segment, message.share_units)
        if message.segment.attention:
            self.owner.attend(message.segment, self.number, position, None)
        return self._settle(position)

    cpdef int acknowledge_paged(
        self, unsigned long long location, unsigned int share_units, unsigned long long position
    ) except -1:
        """Do as ``acknowledge`` for a message that is paged out."""
        self.owner.release_paged(location, share_units)
        self.owner.attend(self.owner.journal.segment(location >> 32), self.number, position, None)
        return self._settle(position)

    cdef int _settle(self, unsigned long long position) except -1:
        cdef PositionRange *grown
        cdef Py_ssize_t capacity
        if self.dropped:
            return 0
        if self.range_count and self.ranges[self.range_count - 1].last + 1 == position:
            self.ranges[self.range_count - 1].last = position
            return 0
        if self.range_count == RANGE_COUNT_MAX:
            if self.owner.journal.failed:
                # After a failure nothing is written any more; the messages come back at the next start.
                self.range_count = 0
            else:
                self._write()
        if self.range_count == self.range_capacity:
            capacity = max(4, 2 * self.range_capacity)
            grown = <PositionRange *>realloc(self.ranges, capacity * sizeof(PositionRange))
            if grown is NULL:
                raise MemoryError
            self.ranges = grown
            self.range_capacity = capacity
        self.ranges[self.range_count].first = self.ranges[self.range_count].last = position
        self.range_count += 1
        if not self.touched:
            self._touch()
        return 0

    cdef int mark_delivered(self, Message message, unsigned long long position) except -1:
        """The queue has delivered a message: should the broker die, it comes back as redelivered."""
        if message.segment is None:
            return 0
        if message.segment.attention:
            self.owner.attend(message.segment, self.number, position, message)
        if position > self.delivered_position:
            self.delivered_position = position
            if not self.touched and not self.dropped:
                self._touch()
        return 0

    cdef int repeat_delivered(self) except -1:
        """Write once more up to where messages have been delivered: they stand behind the records that say so."""
        self.written_delivered_position = 0
        if not self.touched and not self.dropped:
            self._touch()
        return 0

    cpdef int write_return(
        self, Message message, unsigned long long position, unsigned int count, unsigned long long not_before_ms
    ) except -1:
        """Note how often a message has been delivered, and when it may come again."""
        if message.segment is None or self.dropped or self.owner.journal.failed:
            return 0
        self.put_return(position, count, not_before_ms)
        message.segment.settled_sequence = self.owner.journal.sequence
        return 0

    cpdef int put_return(
        self, unsigned long long position, unsigned int count, unsigned long long not_before_ms
    ) except -1:
        """Write a return record."""
        cdef unsigned char *at = self.owner.journal.reserve(RECORD_RETURN, 24)
        at = put(put(at, &self.number, 4), &position, 8)
        put(put(at, &count, 4), &not_before_ms, 8)
        self.owner.journal.seal(self.owner.unit_depth == 0)
        self.owner.want_commit()
        return 0

    cdef int _touch(self) except -1:
        self.touched = True
        self.owner._touched.append(self)
        self.owner.want_commit()
        return 0

    cdef int _write(self) except -1:
        """Write a settle record."""
        cdef Py_ssize_t size = 12 + self.range_count * RANGE_SIZE
        cdef unsigned char *at = self.owner.journal.reserve(RECORD_SETTLE, size)
        at = put(at, &self.number, 4)
        at = put(at, &self.delivered_position, 8)
        put(at, self.ranges, self.range_count * RANGE_SIZE)
        self.owner.journal.seal(self.owner.unit_depth == 0)
        self.written_delivered_position = self.delivered_position
        self.range_count = 0
        if self.range_capacity > RANGE_CAPACITY_KEPT:
            free(self.ranges)
            self.ranges = NULL
            self.range_capacity = 0
        return 0

    def restore_delivered(self, unsigned long long position, unsigned long long written_position):
        self.delivered_position = position
        self.written_delivered_position = written_position

    def keep_delivered(self):
        if self.delivered_position != self.written_delivered_position and not self.touched and not self.dropped:
            self._touch()

    def drop(self):
        self.dropped = True
        self.owner.holders.pop(self.number, None)
        self.range_count = 0


cdef class VirtualHostJournal:
    def __cinit__(self, Journal journal not None, touched not None):
        self.journal = journal
        self._on_touched = touched
        self._touched = []
        self._noted = []
        self.holders = {}
        self.unacked = {}

    cdef int want_commit(self) except -1:
        """Say that there is something to write or to commit."""
        if not self.commit_wanted:
            self.commit_wanted = True
            self._on_touched()
        return 0

    cdef int note(self, Segment segment) except -1:
        """Take note that the next records of settlements say more about messages of a segment."""
        if not segment.noted:
            segment.noted = True
            self._noted.append(segment)
        return 0

    cdef int attend(
        self, Segment segment, unsigned int number, unsigned long long position, Message delivered
    ) except -1:
        """Take note that a message of a segment was delivered (``delivered``), or settled (None)."""
        cdef dict by_position
        if segment is not self.evacuated:
            segment.attention = False
        elif delivered is None:
            by_position = self.unacked.get(number)
            if by_position is not None:
                by_position.pop(position, None)
        else:
            self.unacked.setdefault(number, {})[position] = delivered
        return self.note(segment)

    cdef unsigned char *_begin_publish(self, Message message, unsigned int queue_count) except NULL:
        """Begin the record of a message; the queues follow, then _end_publish()."""
        cdef bint timed = message.published_at_ms != 0
        cdef unsigned char *at = self.journal.reserve(
            RECORD_PUBLISH_TIMED if timed else RECORD_PUBLISH,
            (12 if timed else 4) + queue_count * QUEUE_ENTRY_SIZE + content_size(message),
        )
        if timed:
            at = put(at, &message.published_at_ms, 8)
        return put(at, &queue_count, 4)

    cdef unsigned char *_add_queue(self, unsigned char *at, QueueLog log, unsigned long long position) noexcept:
        return put(put(at, &log.number, 4), &position, 8)

    cdef unsigned long long _end_publish(
        self, unsigned char *at, Message message, unsigned int queue_count
    ) except 0:
        """Finish the record of a message; return the number of the batch that makes it durable."""
        cdef Journal journal = self.journal
        cdef Segment segment
        cdef unsigned int units = <unsigned int>(journal.reserved // RECORD_UNIT_SIZE)
        put_content(at, message)
        journal.seal(self.unit_depth == 0)
        segment = journal.current
        message.segment = segment
        message.offset_units = <unsigned int>(segment.size // RECORD_UNIT_SIZE) - units
        message.share_units = units if queue_count == 1 else max(1, units // queue_count)
        segment.live += queue_count
        segment.live_units += <long long>queue_count * message.share_units
        self.want_commit()
        return journal.open_batch

    cdef unsigned long long publish_to_one(
        self, Message message, QueueLog log, unsigned long long position
    ) except 0:
        """Write a message for one queue; return the number of the batch that makes it durable."""
        return self._end_publish(self._add_queue(self._begin_publish(message, 1), log, position), message, 1)

    cpdef unsigned long long publish_to_many(self, Message message, list logs, list positions) except? 0:
        """Write a message for several queues, with its position in each; return the batch that makes it durable.

        The log of a queue that is not durable is None; without any other there is nothing to write, and 0 is returned.
        """
        cdef Py_ssize_t index
        cdef unsigned int count = 0
        cdef unsigned char *at
        for index in range(len(logs)):
            count += logs[index] is not None
        if count == 0:
            return 0
        at = self._begin_publish(message, count)
        for index in range(len(logs)):
            if logs[index] is not None:
                at = self._add_queue(at, <QueueLog>logs[index], <unsigned long long>positions[index])
        return self._end_publish(at, message, count)

    cpdef unsigned long long write_paged(
        self, Message message, unsigned int queue_number, unsigned long long position
    ) except 0:
        """Write a message that is in no other record, for one queue; return where it is.

        It means nothing after a restart. ``release_paged`` has to be called in the end, with the size of its record.
        """
        cdef Journal journal = self.journal
        cdef Py_ssize_t payload_size = PAGED_SIZE + content_size(message)
        cdef unsigned char persistent = message.persistent
        cdef unsigned char *at = journal.reserve(RECORD_PAGED, payload_size)
        cdef long long offset
        at = put(put(at, &queue_number, 4), &position, 8)
        at = put(put(at, &message.published_at_ms, 8), &persistent, 1)
        put_content(at, message)
        journal.seal(self.unit_depth == 0)
        offset = journal.current.size - record_size(payload_size)
        journal.retain(journal.current, paged_share_units(message))
        self.want_commit()
        return journal.current.number << 32 | <unsigned long long>(offset // RECORD_UNIT_SIZE)

    cpdef int release_paged(self, unsigned long long location, unsigned int share_units) except -1:
        """Say that one queue less needs the record at a place."""
        self.journal.release(self.journal.segment(location >> 32), share_units)
        return 0

    cpdef int begin_unit(self) except -1:
        """Begin a unit: what follows counts only together. Units within units are part of the outermost."""
        if self.unit_depth == 0:
            self.write_settled()
            self._sequence_before_unit = self.journal.sequence
        self.unit_depth += 1
        return 0

    cpdef unsigned long long end_unit(self):
        """Finish the unit; return the number of the batch that makes it durable, 0 if it has no records."""
        if self.unit_depth > 1:
            self.unit_depth -= 1
            return self.journal.open_batch
        try:
            self.write_settled()
        finally:
            # Whatever goes wrong: a unit that never ended would keep all that comes after it from the disk.
            self.unit_depth = 0
        if self.journal.sequence != self._sequence_before_unit:
            self.journal.reserve(RECORD_UNIT_END, 0)
            self.journal.seal(True)
            self.want_commit()
            return self.journal.open_batch
        return 0

    def define(self, bytes payload not None, int kind=RECORD_DEFINITION):
        put(
            self.journal.reserve(<unsigned char>kind, PyBytes_GET_SIZE(payload)),
            PyBytes_AS_STRING(payload),
            PyBytes_GET_SIZE(payload),
        )
        self.journal.seal(self.unit_depth == 0)
        self.want_commit()
        return self.journal.open_batch

    cpdef int write_settled(self) except -1:
        cdef QueueLog log
        cdef Segment segment
        if self._touched:
            for log in self._touched:
                log.touched = False
                # After a failure nothing is written any more; the messages come back at the next start.
                if log.dropped or self.journal.failed:
                    log.range_count = 0
                elif log.range_count or log.delivered_position != log.written_delivered_position:
                    log._write()
            self._touched.clear()
        if self._noted:
            for segment in self._noted:
                segment.settled_sequence = self.journal.sequence
                segment.noted = False
                segment.attention = True
            self._noted.clear()
        return 0


cdef class Cursor:
    """Reads a record's payload, and refuses to read past its end."""

    cdef const unsigned char *at
    cdef Py_ssize_t left

    cdef int copy(self, void *value, Py_ssize_t size) except -1:
        if size > self.left:
            raise ValueError(f"the record ends {size - self.left} octets early")
        memcpy(value, self.at, size)
        self.at += size
        self.left -= size
        return 0

    cdef bytes octets(self, Py_ssize_t size):
        if size > self.left:
            raise ValueError(f"the record ends {size - self.left} octets early")
        value = PyBytes_FromStringAndSize(<const char *>self.at, size)
        self.at += size
        self.left -= size
        return value


cdef Cursor read(const unsigned char[::1] payload):
    cdef Cursor cursor = Cursor.__new__(Cursor)
    cursor.left = payload.shape[0]
    cursor.at = &payload[0] if cursor.left else NULL
    return cursor


def decode_publish(const unsigned char[::1] payload, bint timed=False):
    cdef Cursor cursor = read(payload)
    cdef unsigned long long published_at_ms = 0
    cdef unsigned int queue_count = 0, number = 0, header_size = 0
    cdef unsigned short address_size = 0
    cdef unsigned long long position = 0
    queues = []
    if timed:
        cursor.copy(&published_at_ms, 8)
    cursor.copy(&queue_count, 4)
    for _ in range(queue_count):
        cursor.copy(&number, 4)
        cursor.copy(&position, 8)
        queues.append((number, position))
    cursor.copy(&address_size, 2)
    address = cursor.octets(address_size)
    cursor.copy(&header_size, 4)
    header = cursor.octets(header_size)
    body = cursor.octets(cursor.left)
    return queues, Message(address, header, body, True, find_traits(header), published_at_ms)


def decode_return(const unsigned char[::1] payload):
    cdef Cursor cursor = read(payload)
    cdef unsigned int number = 0, count = 0
    cdef unsigned long long position = 0, not_before_ms = 0
    cursor.copy(&number, 4)
    cursor.copy(&position, 8)
    cursor.copy(&count, 4)
    cursor.copy(&not_before_ms, 8)
    return number, position, count, not_before_ms


def decode_settle(const unsigned char[::1] payload):
    cdef Cursor cursor = read(payload)
    cdef unsigned int number = 0
    cdef unsigned long long delivered = 0
    cdef PositionRange settled
    settled.first = settled.last = 0
    ranges = []
    cursor.copy(&number, 4)
    cursor.copy(&delivered, 8)
    while cursor.left:
        cursor.copy(&settled, RANGE_SIZE)
        ranges.append((settled.first, settled.last))
    return number, delivered, ranges
