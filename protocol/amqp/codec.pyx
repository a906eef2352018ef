"""Methods to payloads of method frames and back, as the table in ``spec`` says (specification, section 4.2.4)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_AsEncodedString, PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from protocol.amqp import methods, spec
from protocol.amqp.erlang_term import format_binary, format_octets
from protocol.amqp.errors import command_invalid, frame_error
from protocol.amqp.field_table import decode_table, encode_table

cdef enum:
    IDS_SIZE = 4
    SHORTSTR_SIZE_MAX = 255
    KIND_BIT = 0
    # The integers are told by their size in octets.
    KIND_OCTET = 1
    KIND_SHORT = 2
    KIND_LONG = 4
    KIND_LONGLONG = 8
    KIND_SHORTSTR = 16
    KIND_LONGSTR = 17
    KIND_TABLE = 18
    ARGUMENTS_MAX = 16

_KINDS = {
    "bit": KIND_BIT,
    "octet": KIND_OCTET,
    "short": KIND_SHORT,
    "long": KIND_LONG,
    "longlong": KIND_LONGLONG,
    "timestamp": KIND_LONGLONG,
    "shortstr": KIND_SHORTSTR,
    "longstr": KIND_LONGSTR,
    "table": KIND_TABLE,
}

cdef class _Layout:
    """How one method stands on the wire; the name of an argument that is reserved is None."""

    cdef object method
    cdef bint has_content
    cdef uint32_t ids
    cdef int count
    cdef tuple names
    cdef int kinds[ARGUMENTS_MAX]

    def __cinit__(self, row):
        cdef int at = 0
        self.method = methods.METHODS[row.name]
        self.has_content = row.has_content
        self.ids = row.class_id << 16 | row.method_id
        self.names = tuple(None if name.startswith("reserved") else name for name, _ in row.arguments)
        self.count = len(self.names)
        if self.count > ARGUMENTS_MAX:
            raise ValueError(f"{row.name} has more than {ARGUMENTS_MAX} arguments")
        for _, kind in row.arguments:
            self.kinds[at] = _KINDS[kind]
            at += 1


cdef dict _LAYOUTS = {row.class_id << 16 | row.method_id: _Layout(row) for row in spec.METHODS}
cdef dict _LAYOUTS_BY_CLASS = {(<_Layout>layout).method: layout for layout in _LAYOUTS.values()}


cdef inline uint64_t get_integer(const uint8_t *octets, int size) noexcept nogil:
    cdef uint64_t value = 0
    cdef int at
    for at in range(size):
        value = value << 8 | octets[at]
    return value


cdef inline void put_integer(uint8_t *octets, uint64_t value, int size) noexcept nogil:
    cdef int at
    for at in range(size - 1, -1, -1):
        octets[at] = value & 0xFF
        value >>= 8


cpdef object decode_method(bytes payload):
    """Return the method that a method frame carries.

    Raises ``ConnectionException``: COMMAND_INVALID for a method that does not exist, FRAME_ERROR where the payload
    names no method, or its arguments do not fill it exactly, or are malformed.
    """
    cdef Py_ssize_t size = len(payload)
    cdef const uint8_t *octets = <const uint8_t *>PyBytes_AS_STRING(payload)
    cdef uint32_t ids
    cdef _Layout layout
    cdef list arguments
    if size < IDS_SIZE:
        raise frame_error(f"type 1, all octets = {format_binary(payload)}: unknown_frame")
    ids = get_integer(octets, IDS_SIZE)
    layout = _LAYOUTS.get(ids)
    if layout is None:
        raise command_invalid(f"unknown method {ids >> 16}.{ids & 0xFFFF}", ids >> 16, ids & 0xFFFF)
    arguments = []
    if _decode_arguments(payload, octets, size, layout, arguments) != size:
        raise frame_error(f"cannot decode {format_octets(payload[IDS_SIZE:])}", ids >> 16, ids & 0xFFFF)
    return layout.method(*arguments)


cdef Py_ssize_t _decode_arguments(
    bytes payload, const uint8_t *octets, Py_ssize_t size, _Layout layout, list arguments
) except -2:
    """Append the arguments that have names. Returns where they end, or -1 if the payload ends before they do."""
    cdef Py_ssize_t at = IDS_SIZE
    cdef Py_ssize_t length
    cdef int bit = 0, kind, argument
    for argument in range(layout.count):
        kind = layout.kinds[argument]
        if kind == KIND_BIT:
            # Bits that follow one another share octets (specification, section 4.2.5.2).
            if bit == 0:
                at += 1
            if at > size:
                return -1
            value = (octets[at - 1] >> bit & 1) != 0
            bit = (bit + 1) & 7
        else:
            bit = 0
            if kind == KIND_SHORTSTR:
                if at >= size or size - at - 1 < octets[at]:
                    return -1
                length = octets[at]
                value = _decode_shortstr(octets + at + 1, length, layout)
                at += 1 + length
            elif kind == KIND_LONGSTR or kind == KIND_TABLE:
                if size - at < KIND_LONG:
                    return -1
                length = get_integer(octets + at, KIND_LONG)
                at += KIND_LONG
                if size - at < length:
                    return -1
                value = payload[at : at + length]
                if kind == KIND_TABLE:
                    value = decode_table(value) if length else {}
                at += length
            else:
                if size - at < kind:
                    return -1
                value = get_integer(octets + at, kind)
                at += kind
        if layout.names[argument] is not None:
            arguments.append(value)
    return at


cdef object _decode_shortstr(const uint8_t *octets, Py_ssize_t length, _Layout layout):
    try:
        return PyUnicode_DecodeUTF8(<const char *>octets, length, NULL)
    except UnicodeDecodeError:
        if not layout.has_content:
            raise frame_error("Malformed UTF-8 in shortstr") from None
        return PyUnicode_DecodeUTF8(<const char *>octets, length, "surrogateescape")


cpdef bytes encode_method(object method):
    """Return the payload of the method frame that carries ``method``.

    Raises ``ValueError`` where an argument does not fit its type.
    """
    cdef _Layout layout = _LAYOUTS_BY_CLASS[type(method)]
    cdef Py_ssize_t size = IDS_SIZE
    cdef int bit = 0, kind, argument
    cdef uint64_t values[ARGUMENTS_MAX]
    cdef list strings = []
    cdef bytes content
    for argument in range(layout.count):
        kind = layout.kinds[argument]
        name = layout.names[argument]
        value = None if name is None else getattr(method, name)
        if kind == KIND_BIT:
            values[argument] = bool(value)
            size += bit == 0
            bit = (bit + 1) & 7
            continue
        bit = 0
        if kind <= KIND_LONGLONG:
            values[argument] = 0 if value is None else _integer(value, kind, method, name)
            size += kind
            continue
        content = b"" if value is None else _string(value, kind, method, name)
        strings.append(content)
        size += len(content) + (1 if kind == KIND_SHORTSTR else KIND_LONG)
    return _pack(layout, size, values, strings)


cdef bytes _pack(_Layout layout, Py_ssize_t size, const uint64_t *values, list strings):
    cdef bytes payload = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t *octets = <uint8_t *>PyBytes_AS_STRING(payload)
    cdef int bit = 0, kind, argument, string = 0, size_size
    cdef bytes content
    put_integer(octets, layout.ids, IDS_SIZE)
    octets += IDS_SIZE
    for argument in range(layout.count):
        kind = layout.kinds[argument]
        if kind == KIND_BIT:
            if bit == 0:
                octets[0] = 0
                octets += 1
            octets[-1] |= values[argument] << bit
            bit = (bit + 1) & 7
            continue
        bit = 0
        if kind <= KIND_LONGLONG:
            put_integer(octets, values[argument], kind)
            octets += kind
            continue
        content = strings[string]
        string += 1
        size_size = 1 if kind == KIND_SHORTSTR else KIND_LONG
        put_integer(octets, len(content), size_size)
        memcpy(octets + size_size, PyBytes_AS_STRING(content), len(content))
        octets += size_size + len(content)
    return payload


cdef uint64_t _integer(object value, int size, object method, str name) except? 0xFFFFFFFFFFFFFFFF:
    cdef uint64_t number
    try:
        number = value
    except (OverflowError, TypeError) as error:
        raise ValueError(f"{name} of {method.name} cannot be {value!r}: {error}") from error
    if size < KIND_LONGLONG and number >> 8 * size:
        raise ValueError(f"{name} of {method.name} cannot be {value!r}: it has {8 * size} bits")
    return number


cdef bytes _string(object value, int kind, object method, str name):
    cdef bytes octets
    if kind == KIND_TABLE:
        return encode_table(value) if value else b""
    if kind == KIND_LONGSTR:
        return bytes(value)
    octets = PyUnicode_AsEncodedString(value, "utf-8", "surrogateescape")
    if len(octets) > SHORTSTR_SIZE_MAX:
        raise ValueError(f"{name} of {method.name} has more than {SHORTSTR_SIZE_MAX} octets")
    return octets
