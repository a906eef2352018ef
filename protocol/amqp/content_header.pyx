"""What the broker reads out of a content header without decoding it (specification, section 4.2.6.1)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memset

from protocol.amqp import field_table

from protocol.amqp.reader cimport CONTENT_HEADER_SIZE_MIN, load_long, load_longlong, load_short

cdef enum:
    FLAG_CONTENT_TYPE = 1 << 15
    FLAG_CONTENT_ENCODING = 1 << 14
    FLAG_HEADERS = 1 << 13
    FLAG_DELIVERY_MODE = 1 << 12
    FLAG_PRIORITY = 1 << 11
    FLAG_CORRELATION_ID = 1 << 10
    FLAG_REPLY_TO = 1 << 9
    FLAG_EXPIRATION = 1 << 8
    FLAG_MESSAGE_ID = 1 << 7
    FLAG_TIMESTAMP = 1 << 6
    FLAG_USER_ID = 1 << 4
    FLAG_CLUSTER_ID = 1 << 2
    FLAGS_SHORT_STRING = (1 << 10) | (1 << 9) | (1 << 8) | (1 << 7) | (1 << 5) | (1 << 4) | (1 << 3) | (1 << 2)
    DOUBLE_EXPONENT = 0x7FF0
    FLOAT_EXPONENT = 0x7F80

# What is let in here is decoded later on, so the limits are those of the decoder.
cdef int DEPTH_MAX = field_table.DEPTH_MAX
cdef int ITEM_COUNT_MAX = field_table.ITEM_COUNT_MAX

FLAGS_VALIDATED = FLAGS_VALIDATED_
FLAGS_LOOKED_INTO = FLAGS_LOOKED_INTO_


cdef inline const unsigned char *over_short_string(const unsigned char *at, const unsigned char *end) noexcept:
    return at + 1 + at[0] if at < end else end + 1


cdef inline bint is_number(const unsigned char *at, const unsigned char *end, unsigned int exponent) noexcept:
    """Return whether a float is finite; ``exponent`` has the bits of its exponent, all in its first two octets."""
    return end - at >= 2 and load_short(at) & exponent != exponent


cdef bint is_table(
    const unsigned char *at, const unsigned char *end, bint named, int depth, int *items_left
) noexcept:
    """Return whether these octets are the fields of a table, or (not ``named``) the items of an array.

    ``items_left`` says how many there may be, those of nested tables and arrays among them, and is counted down.
    """
    cdef const unsigned char *inner_end
    cdef unsigned char tag
    if depth > DEPTH_MAX:
        return False
    while at < end:
        items_left[0] -= 1
        if items_left[0] < 0:
            return False
        if named:
            at = over_short_string(at, end)
            if at >= end:
                return False
        tag = at[0]
        at += 1
        if tag == b"t" or tag == b"b" or tag == b"B":
            at += 1
        elif tag == b"s" or tag == b"u":
            at += 2
        elif tag == b"I" or tag == b"i":
            at += 4
        elif tag == b"l" or tag == b"L" or tag == b"T":
            at += 8
        elif tag == b"d":
            if not is_number(at, end, DOUBLE_EXPONENT):
                return False
            at += 8
        elif tag == b"f":
            if not is_number(at, end, FLOAT_EXPONENT):
                return False
            at += 4
        elif tag == b"D":
            at += 5
        elif tag == b"S" or tag == b"x" or tag == b"F" or tag == b"A":
            if end - at < 4:
                return False
            inner_end = at + 4 + <Py_ssize_t>load_long(at)
            if inner_end > end:
                return False
            if (tag == b"F" or tag == b"A") and not is_table(at + 4, inner_end, tag == b"F", depth + 1, items_left):
                return False
            at = inner_end
        elif tag != b"V":
            return False
    return at == end


cdef int walk(bytes header, HeaderLayout *found) noexcept:
    """Find the properties, whatever the octets are. Returns what ``delivery_mode`` does; below 0 nothing is found."""
    cdef const unsigned char *start = <const unsigned char *>PyBytes_AS_STRING(header)
    cdef const unsigned char *at = start
    cdef const unsigned char *end = at + PyBytes_GET_SIZE(header)
    cdef const unsigned char *table_end
    cdef unsigned int flags, flag
    cdef int mode = 0
    cdef int items_left = ITEM_COUNT_MAX
    memset(found, 0, sizeof(HeaderLayout))
    if PyBytes_GET_SIZE(header) < CONTENT_HEADER_SIZE_MIN:
        return -1
    flags = load_short(at + 12)
    found.flags = flags
    at += CONTENT_HEADER_SIZE_MIN
    if flags & FLAG_CONTENT_TYPE:
        at = over_short_string(at, end)
    if flags & FLAG_CONTENT_ENCODING:
        at = over_short_string(at, end)
    if flags & FLAG_HEADERS:
        if end - at < 4:
            return -1
        table_end = at + 4 + <Py_ssize_t>load_long(at)
        if table_end > end or not is_table(at + 4, table_end, True, 1, &items_left):
            return -1
        found.table = at - start
        found.table_end = table_end - start
        at = table_end
    if flags & FLAG_DELIVERY_MODE:
        if at < end:
            mode = at[0]
        at += 1
    if flags & FLAG_PRIORITY:
        found.priority = at - start
        at += 1
    # correlation-id, reply-to, expiration and message-id stand before the timestamp; type, user-id, app-id and
    # cluster-id after it.
    flag = FLAG_CORRELATION_ID
    while flag >= FLAG_CLUSTER_ID:
        if flags & flag & FLAGS_SHORT_STRING:
            if flag == FLAG_REPLY_TO:
                found.reply_to = at - start
            elif flag == FLAG_EXPIRATION:
                found.expiration = at - start
            elif flag == FLAG_MESSAGE_ID:
                found.message_id = at - start
            elif flag == FLAG_USER_ID:
                found.user_id = at - start
            at = over_short_string(at, end)
        elif flags & flag & FLAG_TIMESTAMP:
            at += 8
        if at > end:
            return -1
        flag >>= 1
    return mode if at == end else -1


cpdef int delivery_mode(bytes header) except -2:
    cdef HeaderLayout found
    return walk(header, &found)


cpdef unsigned int property_flags(bytes header):
    return load_short(<const unsigned char *>PyBytes_AS_STRING(header) + 12)


cpdef unsigned long long body_size(bytes header):
    return load_longlong(<const unsigned char *>PyBytes_AS_STRING(header) + 4)


cpdef unsigned int class_id(bytes header):
    return load_short(<const unsigned char *>PyBytes_AS_STRING(header))


cpdef unsigned int weight(bytes header):
    return load_short(<const unsigned char *>PyBytes_AS_STRING(header) + 2)
