"""From records that were read back to messages in memory."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memcpy

from broker.durability.message_record cimport QUEUE_ENTRY_SIZE, Content, find_content, find_queues
from broker.durability.queue_log cimport RECORD_PAGED, VirtualHostJournal
from broker.queueing.contents cimport QueueContents
from broker.queueing.message cimport Message, new_message
from broker.queueing.ready cimport ReadyMessages
from protocol.amqp.header_fields cimport find_traits
from storage.fetcher cimport DAMAGED, NOT_READ, READ, Fetch, FetchItem
from storage.record cimport RECORD_HEADER_SIZE, RecordHeader
from storage.segment cimport Segment


cdef bint holds(
    const unsigned char *queues, uint32_t queue_count, unsigned int number, unsigned long long position
) noexcept:
    """Return whether a queue and a position are among those of a record."""
    cdef unsigned int held_number
    cdef unsigned long long held_position
    for _ in range(queue_count):
        memcpy(&held_number, queues, 4)
        memcpy(&held_position, queues + 4, 8)
        if held_number == number and held_position == position:
            return True
        queues += QUEUE_ENTRY_SIZE
    return False


cdef bint find_message(
    RecordHeader *record, unsigned int number, unsigned long long position, Content *content
) noexcept:
    """Find the message in a record; False unless the record holds it for that queue and position."""
    cdef const unsigned char *payload = <const unsigned char *>record + RECORD_HEADER_SIZE
    cdef uint32_t queue_count
    cdef const unsigned char *queues = find_queues(record.kind, payload, record.payload_size, &queue_count)
    return (
        queues is not NULL and holds(queues, queue_count, number, position)
        and find_content(
            record.kind, payload, queues + queue_count * QUEUE_ENTRY_SIZE, payload + record.payload_size, content
        )
    )


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
        if not find_message(record, number, item.position, &content):
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
