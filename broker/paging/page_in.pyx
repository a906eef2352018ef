"""From records that were read back to messages in memory."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy

from broker.durability.queue_log cimport (
    RECORD_MOVED, RECORD_MOVED_TIMED, RECORD_PAGED, RECORD_PUBLISH, RECORD_PUBLISH_TIMED, VirtualHostJournal,
)
from broker.queueing.contents cimport QueueContents
from broker.queueing.message cimport Message, new_message
from broker.queueing.ready cimport ReadyMessages
from protocol.amqp.header_fields cimport find_traits
from storage.fetcher cimport DAMAGED, NOT_READ, READ, Fetch, FetchItem
from storage.record cimport RECORD_HEADER_SIZE, RecordHeader
from storage.segment cimport Segment


cdef enum:
    QUEUE_ENTRY_SIZE = 12


cdef struct Content:
    # Where in a record the parts of a message are.
    const unsigned char *address
    Py_ssize_t address_size
    const unsigned char *header
    Py_ssize_t header_size
    const unsigned char *body
    Py_ssize_t body_size
    unsigned long long published_at_ms
    bint persistent


cdef bint find_content(
    RecordHeader *record, unsigned int number, unsigned long long position, Content *content
) noexcept:
    """Find the message in a record; False unless the record holds it for that queue and position."""
    cdef const unsigned char *at = <const unsigned char *>record + RECORD_HEADER_SIZE
    cdef const unsigned char *end = at + record.payload_size
    cdef unsigned int queue_count = 1, held_number, header_size
    cdef unsigned long long held_position
    cdef unsigned short address_size
    cdef bint held = False
    content.published_at_ms = 0
    content.persistent = True
    if record.kind == RECORD_PUBLISH_TIMED or record.kind == RECORD_MOVED_TIMED:
        if end - at < 8:
            return False
        memcpy(&content.published_at_ms, at, 8)
        at += 8
    if record.kind in (RECORD_PUBLISH, RECORD_PUBLISH_TIMED, RECORD_MOVED, RECORD_MOVED_TIMED):
        if end - at < 4:
            return False
        memcpy(&queue_count, at, 4)
        at += 4
    elif record.kind != RECORD_PAGED:
        return False
    if end - at < <Py_ssize_t>queue_count * QUEUE_ENTRY_SIZE:
        return False
    for _ in range(queue_count):
        memcpy(&held_number, at, 4)
        memcpy(&held_position, at + 4, 8)
        held = held or (held_number == number and held_position == position)
        at += QUEUE_ENTRY_SIZE
    if record.kind == RECORD_PAGED:
        if end - at < 9:
            return False
        memcpy(&content.published_at_ms, at, 8)
        content.persistent = at[8] != 0
        at += 9
    if not held or end - at < 2:
        return False
    memcpy(&address_size, at, 2)
    content.address = at + 2
    content.address_size = address_size
    at += 2 + address_size
    if end - at < 4:
        return False
    memcpy(&header_size, at, 4)
    content.header = at + 4
    content.header_size = header_size
    at += 4 + <Py_ssize_t>header_size
    content.body = at
    content.body_size = end - at
    return content.body_size >= 0


cdef inline bytes shared(bytes before, const unsigned char *octets, Py_ssize_t size):
    """Return the octets, as the object that the message before has if they are the same."""
    if (
        before is not None and PyBytes_GET_SIZE(before) == size
        and memcmp(PyBytes_AS_STRING(before), octets, size) == 0
    ):
        return before
    return PyBytes_FromStringAndSize(<const char *>octets, size)


def take_in(Fetch fetch not None, QueueContents contents not None, VirtualHostJournal journal not None):
    cdef unsigned int number = contents.log.number if contents.log is not None else contents.page_number
    return take_in_for(fetch, number, contents, None, journal)


cdef list take_in_for(
    Fetch fetch, unsigned int number, QueueContents contents, ReadyMessages messages, VirtualHostJournal journal
):
    """Give the messages that were read for the queue of a number to its contents, or to a part of them."""
    cdef Py_ssize_t index
    cdef FetchItem *item
    cdef RecordHeader *record
    cdef Content content
    cdef Message message
    cdef Segment segment
    cdef bytes address = None, header = None, before
    cdef unsigned int traits = 0, share_units
    cdef bint taken
    cdef list troubles = []
    for index in range(fetch.work.count):
        item = &fetch.work.items[index]
        if item.status == NOT_READ:
            continue
        if item.status != READ:
            troubles.append((item.position, item.location, item.status, item.error))
            continue
        segment = journal.journal.find_segment(item.location >> 32)
        if segment is None:
            # It went to another place while it was being read, or for good.
            continue
        record = fetch.record(index)
        if not find_content(record, number, item.position, &content):
            troubles.append((item.position, item.location, DAMAGED, 0))
            continue
        address = shared(address, content.address, content.address_size)
        before = header
        header = shared(header, content.header, content.header_size)
        if header is not before:
            traits = find_traits(header)
        message = new_message(
            address, header, PyBytes_FromStringAndSize(<const char *>content.body, content.body_size),
            content.persistent, traits,
        )
        message.published_at_ms = content.published_at_ms
        if record.kind != RECORD_PAGED:
            message.segment = segment
            message.offset_units = <unsigned int>item.location
        if messages is not None:
            taken = messages.page_in(item.position, item.location, message)
        else:
            taken = contents.page_in(item.position, item.location, message)
        if taken and record.kind == RECORD_PAGED:
            share_units = message.share_units
            message.share_units = 0
            journal.release_paged(item.location, share_units)
    return troubles
