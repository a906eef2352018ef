from broker.queueing.message cimport Message
from storage.journal cimport Journal
from storage.segment cimport Segment


cdef enum RecordKind:
    RECORD_PUBLISH = 1
    RECORD_SETTLE = 2
    RECORD_UNIT_END = 3
    RECORD_PUBLISH_TIMED = 4
    RECORD_RETURN = 5
    RECORD_MOVED = 6
    RECORD_MOVED_TIMED = 7
    RECORD_PAGED = 96             # at least KIND_VOLATILE_MIN of storage.record: means nothing after a restart
    RECORD_DEFINITION = 128       # at least KIND_STATE_MIN of storage.record: checkpoints cover it
    RECORD_SEEN = 129


cdef struct PositionRange:
    unsigned long long first
    unsigned long long last


cpdef unsigned int paged_share_units(Message message) noexcept


cdef class QueueLog:
    cdef readonly VirtualHostJournal owner
    cdef readonly unsigned int number
    cdef readonly unsigned long long delivered_position
    cdef PositionRange *ranges           # settled since the last record, ascending as far as they came so
    cdef Py_ssize_t range_count
    cdef Py_ssize_t range_capacity
    cdef unsigned long long written_delivered_position
    cdef bint touched
    cdef bint dropped

    cdef int acknowledge(self, Message message, unsigned long long position) except -1
    cpdef int acknowledge_paged(
        self, unsigned long long location, unsigned int share_units, unsigned long long position
    ) except -1
    cdef int _settle(self, unsigned long long position) except -1
    cdef int mark_delivered(self, Message message, unsigned long long position) except -1
    cpdef int write_return(
        self, Message message, unsigned long long position, unsigned int count, unsigned long long not_before_ms
    ) except -1
    cpdef int put_return(self, unsigned long long position, unsigned int count, unsigned long long not_before_ms) except -1
    cdef int repeat_delivered(self) except -1
    cdef int _touch(self) except -1
    cdef int _write(self) except -1


cdef class VirtualHostJournal:
    cdef readonly Journal journal
    cdef object _on_touched
    cdef public bint commit_wanted
    cdef list _touched
    cdef readonly int unit_depth
    cdef unsigned long long _sequence_before_unit
    cdef list _noted                # segments of which messages were settled, or delivered, since the last records of it
    # By number, the queues in whose names there are messages in the journal.
    cdef readonly dict holders
    # While a segment is being evacuated: its unacknowledged messages, by number of the queue and position.
    cdef Segment evacuated
    cdef dict unacked

    cdef int want_commit(self) except -1
    cdef int note(self, Segment segment) except -1
    cdef int attend(self, Segment segment, unsigned int number, unsigned long long position, Message delivered) except -1
    cdef unsigned char *_begin_publish(self, Message message, unsigned int queue_count) except NULL
    cdef unsigned char *_add_queue(self, unsigned char *at, QueueLog log, unsigned long long position) noexcept
    cdef unsigned long long _end_publish(
        self, unsigned char *at, Message message, unsigned int queue_count
    ) except 0
    cdef unsigned long long publish_to_one(
        self, Message message, QueueLog log, unsigned long long position
    ) except 0
    cpdef unsigned long long publish_to_many(self, Message message, list logs, list positions) except? 0
    cpdef unsigned long long write_paged(
        self, Message message, unsigned int queue_number, unsigned long long position
    ) except 0
    cpdef int release_paged(self, unsigned long long location, unsigned int share_units) except -1
    cpdef int begin_unit(self) except -1
    cpdef unsigned long long end_unit(self)
    cpdef int write_settled(self) except -1
