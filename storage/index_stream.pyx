"""The content of an index: for each record of a segment its size, its kind, its flags and its summary."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

from storage.record cimport (
    KIND_MARK_MIN, KIND_RECLAIMED, KIND_STATE_MIN, RECORD_HEADER_SIZE, RecordHeader, record_is_valid, record_size,
)
from storage.replayer cimport Replayer, summary_size_max
from storage.segment cimport RECORD_UNIT_SIZE

cdef enum:
    # Beside a summary: two numbers, kind and flags.
    ENTRY_OVERHEAD_MAX = 22
    STREAM_SIZE_MIN = 1 << 16


def summarize_segment(bytes data not None, Py_ssize_t offset, uint32_t seed, uint32_t epoch, Replayer replayer not None):
    """Summarize the records of a segment, of which ``data`` is the content and ``offset`` where the first one is.

    Returns (stream, first sequence, last sequence, sequence of the last state record, end, mark, batch offset), as far
    as there are whole records without a gap; see ``RecordReader`` for the last ones.
    """
    cdef const unsigned char *records = data
    cdef Py_ssize_t size = len(data)
    cdef Py_ssize_t length, capacity = 0, used = 0, batch_offset = offset
    cdef unsigned char *stream = NULL
    cdef unsigned char *grown
    cdef const RecordHeader *header
    cdef uint64_t first = 0, last = 0, state = 0, durable = 0
    cdef int mark = 0
    cdef bint failed = False
    try:
        with nogil:
            while mark == 0 and record_is_valid(records + offset, size - offset, seed, epoch):
                header = <const RecordHeader *>(records + offset)
                if last and header.sequence != last + 1:
                    break
                length = record_size(header.payload_size)
                if used + ENTRY_OVERHEAD_MAX + summary_size_max(header.payload_size) > capacity:
                    capacity = max(
                        STREAM_SIZE_MIN, 2 * used + ENTRY_OVERHEAD_MAX + summary_size_max(header.payload_size)
                    )
                    grown = <unsigned char *>realloc(stream, capacity)
                    if grown is NULL:
                        failed = True
                        break
                    stream = grown
                used = append_entry(stream, used, header, replayer)
                if header.durable != durable:
                    durable = header.durable
                    batch_offset = offset
                first = first or header.sequence
                last = header.sequence
                if KIND_STATE_MIN <= header.kind < KIND_MARK_MIN:
                    state = last
                elif header.kind >= KIND_MARK_MIN and header.kind != KIND_RECLAIMED:
                    mark = header.kind
                offset += length
        if failed:
            raise MemoryError
        return PyBytes_FromStringAndSize(<char *>stream, used), first, last, state, offset, mark, batch_offset
    finally:
        free(stream)


cdef Py_ssize_t append_entry(
    unsigned char *stream, Py_ssize_t used, const RecordHeader *header, Replayer replayer
) noexcept nogil:
    cdef const unsigned char *payload = <const unsigned char *>header + RECORD_HEADER_SIZE
    cdef unsigned char *at = put_varint(stream + used, <uint64_t>(record_size(header.payload_size) // RECORD_UNIT_SIZE))
    cdef Py_ssize_t size
    at[0] = header.kind
    at[1] = header.flags
    at += 2
    # Its size stands before it and is not known yet.
    size = replayer.summarize(header.kind, payload, header.payload_size, stream + used + ENTRY_OVERHEAD_MAX)
    at = put_varint(at, <uint64_t>size)
    memmove(at, stream + used + ENTRY_OVERHEAD_MAX, size)
    return at + size - stream
