# Where in a record that holds a message its parts are; see the beginning of queue_log.pyx.

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from broker.durability.queue_log cimport (
    RECORD_MOVED, RECORD_MOVED_TIMED, RECORD_PAGED, RECORD_PUBLISH, RECORD_PUBLISH_TIMED,
)

cdef enum:
    QUEUE_ENTRY_SIZE = 12


cdef struct Content:
    uint64_t published_at_ms
    bint persistent
    const unsigned char *address
    Py_ssize_t address_size
    const unsigned char *header
    Py_ssize_t header_size
    const unsigned char *body
    Py_ssize_t body_size


cdef inline bint is_timed(unsigned char kind) noexcept nogil:
    return kind == RECORD_PUBLISH_TIMED or kind == RECORD_MOVED_TIMED


cdef inline bint holds_publish(unsigned char kind) noexcept nogil:
    return kind == RECORD_PUBLISH or kind == RECORD_MOVED or is_timed(kind)


cdef inline const unsigned char *find_queues(
    unsigned char kind, const unsigned char *payload, Py_ssize_t size, uint32_t *queue_count
) noexcept nogil:
    """Return where the queues begin, each an entry of QUEUE_ENTRY_SIZE; NULL where it holds no message."""
    cdef const unsigned char *at = payload
    cdef const unsigned char *end = payload + size
    queue_count[0] = 1
    if kind != RECORD_PAGED:
        if not holds_publish(kind):
            return NULL
        if is_timed(kind):
            at += 8
        if end - at < 4:
            return NULL
        memcpy(queue_count, at, 4)
        at += 4
    return at if end - at >= <Py_ssize_t>queue_count[0] * QUEUE_ENTRY_SIZE else NULL


cdef inline bint find_content(
    unsigned char kind, const unsigned char *payload, const unsigned char *at, const unsigned char *end,
    Content *content
) noexcept nogil:
    """Find what comes behind the queues (``at``); False where it ends too early."""
    cdef uint16_t address_size
    cdef uint32_t header_size
    content.published_at_ms = 0
    content.persistent = True
    if is_timed(kind):
        memcpy(&content.published_at_ms, payload, 8)
    elif kind == RECORD_PAGED:
        if end - at < 9:
            return False
        memcpy(&content.published_at_ms, at, 8)
        content.persistent = at[8] != 0
        at += 9
    if end - at < 2:
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
