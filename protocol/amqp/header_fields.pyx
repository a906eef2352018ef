"""Single properties and header fields of a content header (specification, section 4.2.6.1), read and changed in place.

Whatever is not named keeps its octets, so that every type of a header survives any number of changes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy, memset

from protocol.amqp.reader cimport CONTENT_HEADER_SIZE_MIN, load_long, load_short

cdef enum:
    BIT_CONTENT_TYPE = 15
    BIT_CONTENT_ENCODING = 14
    BIT_HEADERS = 13
    BIT_DELIVERY_MODE = 12
    BIT_PRIORITY = 11
    BIT_CORRELATION_ID = 10
    BIT_REPLY_TO = 9
    BIT_EXPIRATION = 8
    BIT_MESSAGE_ID = 7
    EXPIRATION_DIGITS_MAX = 18

TRAIT_EXPIRES = TRAIT_EXPIRES_
TRAIT_HIDDEN = TRAIT_HIDDEN_
TRAIT_ROUTED = TRAIT_ROUTED_

CC = b"CC"
BCC = b"BCC"
# Fields of the broker's own, which clients neither see nor set.
HIDDEN_PREFIX = b"x-haypile-"
cdef const char *HIDDEN = b"x-haypile-"
cdef enum:
    HIDDEN_SIZE = 10


cdef inline const unsigned char *octets_of(bytes header) noexcept:
    return <const unsigned char *>PyBytes_AS_STRING(header)


cdef HeaderLayout lay_out(bytes header) noexcept:
    """Find the properties up to message-id."""
    cdef const unsigned char *start = octets_of(header)
    cdef Py_ssize_t at = CONTENT_HEADER_SIZE_MIN
    cdef unsigned int flags
    cdef int bit
    cdef HeaderLayout found
    memset(&found, 0, sizeof(HeaderLayout))
    if PyBytes_GET_SIZE(header) < CONTENT_HEADER_SIZE_MIN:
        return found
    flags = load_short(start + 12)
    found.flags = flags
    for bit in range(BIT_CONTENT_TYPE, BIT_MESSAGE_ID - 1, -1):
        if not flags >> bit & 1:
            continue
        if bit == BIT_HEADERS:
            found.table = at
            at += 4 + <Py_ssize_t>load_long(start + at)
            found.table_end = at
        elif bit == BIT_DELIVERY_MODE:
            at += 1
        elif bit == BIT_PRIORITY:
            found.priority = at
            at += 1
        else:
            if bit == BIT_EXPIRATION:
                found.expiration = at
            elif bit == BIT_REPLY_TO:
                found.reply_to = at
            elif bit == BIT_MESSAGE_ID:
                found.message_id = at
            at += 1 + start[at]
    return found


cdef Py_ssize_t value_size(const unsigned char *at) noexcept:
    """Return the size of a field value with its type, in a table that is well-formed."""
    cdef unsigned char tag = at[0]
    if tag == b"t" or tag == b"b" or tag == b"B":
        return 2
    if tag == b"s" or tag == b"u":
        return 3
    if tag == b"I" or tag == b"i" or tag == b"f":
        return 5
    if tag == b"l" or tag == b"L" or tag == b"d" or tag == b"T":
        return 9
    if tag == b"D":
        return 6
    if tag == b"V":
        return 1
    return 5 + <Py_ssize_t>load_long(at + 1)


cdef inline bint is_hidden(const unsigned char *name, Py_ssize_t size) noexcept:
    if size == 3:
        return memcmp(name, b"BCC", 3) == 0
    return size > HIDDEN_SIZE and memcmp(name, HIDDEN, HIDDEN_SIZE) == 0


cdef unsigned int traits_within(const unsigned char *start, const HeaderLayout *layout) noexcept:
    """Return the traits of a header whose properties are found already."""
    cdef unsigned int traits = TRAIT_EXPIRES_ if layout.expiration else 0
    cdef Py_ssize_t at, size
    if layout.table:
        at = layout.table + 4
        while at < layout.table_end:
            size = start[at]
            at += 1
            if is_hidden(start + at, size):
                traits |= TRAIT_HIDDEN_
                if size == 3:
                    traits |= TRAIT_ROUTED_
            elif size == 2 and start[at] == b"C" and start[at + 1] == b"C":
                traits |= TRAIT_ROUTED_
            at += size
            at += value_size(start + at)
    return traits


cpdef unsigned int find_traits(bytes header) except? 0xffffffff:
    cdef HeaderLayout layout = lay_out(header)
    return traits_within(octets_of(header), &layout)


cpdef int priority_of(bytes header) except -2:
    cdef HeaderLayout layout = lay_out(header)
    return octets_of(header)[layout.priority] if layout.priority else -1


cpdef long long expiration_of(bytes header) except -2:
    cdef const unsigned char *start = octets_of(header)
    cdef Py_ssize_t at = lay_out(header).expiration
    cdef Py_ssize_t index, size
    cdef long long value = 0
    if at == 0:
        return -1
    size = start[at]
    index = 1
    # A sign is allowed, as publishes are checked: what is negative was refused, so a minus stands before a zero.
    if size > 1 and (start[at + 1] == b"+" or start[at + 1] == b"-"):
        index = 2
    if index > size:
        return -1
    while index < size and start[at + index] == b"0":
        index += 1
    if size - index >= EXPIRATION_DIGITS_MAX:
        return -1
    while index <= size:
        if start[at + index] < 48 or start[at + index] > 57:     # the digits of ASCII
            return -1
        value = 10 * value + (start[at + index] - 48)
        index += 1
    return value


cdef bytes short_string(bytes header, Py_ssize_t at):
    if at == 0:
        return None
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(header) + at + 1, octets_of(header)[at])


def message_id_of(bytes header not None):
    return short_string(header, lay_out(header).message_id)


def reply_to_of(bytes header not None):
    return short_string(header, lay_out(header).reply_to)


def find_field(bytes header not None, bytes name not None):
    cdef const unsigned char *start = octets_of(header)
    cdef HeaderLayout layout = lay_out(header)
    cdef Py_ssize_t wanted = PyBytes_GET_SIZE(name)
    cdef Py_ssize_t at, size, value
    at = layout.table + 4
    while at < layout.table_end:
        size = start[at]
        value = value_size(start + at + 1 + size)
        if size == wanted and memcmp(start + at + 1, PyBytes_AS_STRING(name), size) == 0:
            return PyBytes_FromStringAndSize(<const char *>start + at + 1 + size, value)
        at += 1 + size + value
    return None


def split_fields(bytes header not None):
    cdef HeaderLayout layout = lay_out(header)
    cdef const unsigned char *at
    cdef const unsigned char *end
    cdef dict fields = {}
    cdef Py_ssize_t size, value
    if layout.table == 0:
        return fields
    at = octets_of(header) + layout.table + 4
    end = octets_of(header) + layout.table_end
    while at < end:
        size = at[0]
        value = value_size(at + 1 + size)
        fields.setdefault(
            PyBytes_FromStringAndSize(<const char *>at + 1, size),
            PyBytes_FromStringAndSize(<const char *>at + 1 + size, value),
        )
        at += 1 + size + value
    return fields


def replace_fields(bytes header not None, dict fields not None, bint keep_expiration=True, bint keep_empty=False):
    cdef HeaderLayout layout = lay_out(header)
    cdef unsigned int flags = <unsigned int>layout.flags
    cdef Py_ssize_t table_at = layout.table
    cdef Py_ssize_t after = layout.table_end
    cdef Py_ssize_t end
    if table_at == 0:
        table_at = CONTENT_HEADER_SIZE_MIN
        if flags >> BIT_CONTENT_TYPE & 1:
            table_at += 1 + octets_of(header)[table_at]
        if flags >> BIT_CONTENT_ENCODING & 1:
            table_at += 1 + octets_of(header)[table_at]
        after = table_at
    parts = [b"", header[CONTENT_HEADER_SIZE_MIN:table_at]]
    if fields or keep_empty:
        flags |= 1 << BIT_HEADERS
        table = b"".join([bytes((len(name),)) + name + fields[name] for name in fields])
        parts.append(len(table).to_bytes(4, "big") + table)
    else:
        flags &= ~(1 << BIT_HEADERS)
    if layout.expiration and not keep_expiration:
        flags &= ~(1 << BIT_EXPIRATION)
        end = layout.expiration + 1 + octets_of(header)[layout.expiration]
        parts += (header[after:layout.expiration], header[end:])
    else:
        parts.append(header[after:])
    parts[0] = header[:12] + flags.to_bytes(2, "big")
    return b"".join(parts)


cdef bytes put_reply_to(bytes header, Py_ssize_t at, bytes reply_to):
    """Return a header with another reply-to than the one that stands at an offset."""
    cdef Py_ssize_t end = at + 1 + octets_of(header)[at]
    cdef Py_ssize_t size = PyBytes_GET_SIZE(reply_to)
    cdef Py_ssize_t rest = PyBytes_GET_SIZE(header) - end
    cdef bytes replaced
    cdef char *to
    if size > 255:
        raise ValueError(f"a reply-to of {size} octets")
    replaced = PyBytes_FromStringAndSize(NULL, at + 1 + size + rest)
    to = PyBytes_AS_STRING(replaced)
    memcpy(to, PyBytes_AS_STRING(header), at)
    to[at] = <char>size
    memcpy(to + at + 1, PyBytes_AS_STRING(reply_to), size)
    memcpy(to + at + 1 + size, PyBytes_AS_STRING(header) + end, rest)
    return replaced


def replace_reply_to(bytes header not None, bytes reply_to not None):
    return put_reply_to(header, lay_out(header).reply_to, reply_to)


def visible(bytes header not None):
    cdef dict fields = split_fields(header)
    cdef bytes name
    for name in list(fields):
        if is_hidden(octets_of(name), PyBytes_GET_SIZE(name)):
            del fields[name]
    return replace_fields(header, fields, keep_empty=True)
