"""The record: a header of 32 bytes, the payload, and zeros up to a multiple of eight.

Everything that is on disk is little-endian. The layout is explained in docs/journal-format.md.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

from storage.checksum cimport checksum, checksum_before

HEADER_SIZE = RECORD_HEADER_SIZE
PAYLOAD_SIZE_MAX = 1 << 30
VOLATILE_MIN = KIND_VOLATILE_MIN
STATE_MIN = KIND_STATE_MIN
STATE_MAX = KIND_MARK_MIN - 1
SEALED = KIND_SEALED
STOPPED = KIND_STOPPED
RECLAIMED = KIND_RECLAIMED


cdef void finish_records(
    unsigned char *data, Py_ssize_t size, uint32_t seed, uint64_t durable, uint64_t *last_sequence
) noexcept nogil:
    """Give the records that fill ``data`` what is only known when they are written: watermark and checksum."""
    cdef Py_ssize_t offset = 0
    cdef Py_ssize_t length
    cdef uint32_t crc
    cdef RecordHeader *header
    while offset < size:
        header = <RecordHeader *>(data + offset)
        length = record_size(header.payload_size)
        header.durable = durable
        crc = checksum(seed, data + offset + RECORD_CHECKED_FROM, RECORD_CHECKED_TO - RECORD_CHECKED_FROM)
        header.header_check = crc & 0xffff
        header.checksum = checksum(crc, data + offset + RECORD_CHECKED_TO, length - RECORD_CHECKED_TO)
        last_sequence[0] = header.sequence
        offset += length


cdef bint header_is_valid(
    const unsigned char *data, Py_ssize_t size, uint32_t seed, uint32_t epoch
) noexcept nogil:
    """Say whether the header of a record of this file and epoch stands here, which ends within ``size``."""
    cdef const RecordHeader *header = <const RecordHeader *>data
    if size < RECORD_HEADER_SIZE or header.epoch != epoch or header.durable >= header.sequence:
        return False
    if record_size(header.payload_size) > size:
        return False
    return (
        checksum(seed, data + RECORD_CHECKED_FROM, RECORD_CHECKED_TO - RECORD_CHECKED_FROM) & 0xffff
    ) == header.header_check


cdef bint record_is_valid(
    const unsigned char *data, Py_ssize_t size, uint32_t seed, uint32_t epoch
) noexcept nogil:
    """Say whether a whole and undamaged record of this file and epoch begins here."""
    cdef const RecordHeader *header = <const RecordHeader *>data
    if not header_is_valid(data, size, seed, epoch):
        return False
    return checksum(
        seed, data + RECORD_CHECKED_FROM, record_size(header.payload_size) - RECORD_CHECKED_FROM
    ) == header.checksum


def size_of(Py_ssize_t payload_size):
    """Return how many bytes a record with a payload of that size takes."""
    return record_size(payload_size)


def encode(
    uint32_t seed, uint64_t sequence, uint64_t durable, uint32_t epoch, int kind, bint unit_ends,
    bytes payload not None
):
    """Return the bytes of one record, as tools need it; the journal builds its records in place."""
    cdef Py_ssize_t length = record_size(len(payload))
    cdef bytearray record = bytearray(length)
    cdef unsigned char *data = record
    cdef RecordHeader *header = <RecordHeader *>data
    header.payload_size = <uint32_t>len(payload)
    header.sequence = sequence
    header.epoch = epoch
    header.kind = kind
    header.flags = FLAG_UNIT_ENDS if unit_ends else 0
    memcpy(data + RECORD_HEADER_SIZE, <const unsigned char *>payload, len(payload))
    finish_records(data, length, seed, durable, &sequence)
    return bytes(record)


def looks_like(bytes data not None, Py_ssize_t offset, uint64_t sequence, uint32_t epoch):
    """Say whether the bytes at ``offset`` were meant as the record ``sequence``, damaged as it may be."""
    cdef const unsigned char *start = data
    cdef const RecordHeader *header
    if len(data) - offset < RECORD_HEADER_SIZE:
        return False
    header = <const RecordHeader *>(start + offset)
    return header.sequence == sequence and header.epoch == epoch


def search(bytes data not None, Py_ssize_t offset, uint32_t seed, uint32_t epoch, uint64_t sequence):
    """Look for whole records behind a place where the record ``sequence`` should be and is not.

    Returns ``(found, proof)``: the offset of the first whole record later than or equal to ``sequence``, and that
    of the first one which says that ``sequence`` was already on disk when it was written; -1 where there is none.
    """
    cdef const unsigned char *start = data
    cdef Py_ssize_t size = len(data)
    cdef Py_ssize_t found = -1
    cdef Py_ssize_t proof = -1
    cdef const RecordHeader *header
    with nogil:
        while offset + RECORD_HEADER_SIZE <= size:
            header = <const RecordHeader *>(start + offset)
            # Looking at the epoch first makes this a fast walk over zeros and over records of a file's earlier life.
            if (
                header.epoch == epoch and header.sequence >= sequence
                and record_is_valid(start + offset, size - offset, seed, epoch)
            ):
                if found < 0:
                    found = offset
                if header.durable >= sequence:
                    proof = offset
                    break
                offset += record_size(header.payload_size)
            else:
                offset += RECORD_ALIGNMENT
    return found, proof


def peek(bytes data not None, Py_ssize_t offset, uint32_t seed, uint32_t epoch):
    """Return what the header of a record at ``offset`` says, or None if no header of this file and epoch is there.

    It is (kind, sequence, durable, unit_ends, payload_size, intact); ``intact`` says whether the payload can be
    believed too.
    """
    cdef const unsigned char *at = <const unsigned char *>data + offset
    cdef Py_ssize_t size = len(data) - offset
    cdef const RecordHeader *header = <const RecordHeader *>at
    if offset < 0 or not header_is_valid(at, size, seed, epoch):
        return None
    return (
        header.kind, header.sequence, header.durable, bool(header.flags & FLAG_UNIT_ENDS), header.payload_size,
        record_is_valid(at, size, seed, epoch),
    )


def size_claimed(bytes data not None, Py_ssize_t offset, uint32_t seed, uint32_t epoch):
    """Return the size of the record whose header stands at ``offset``, also if its end does not; 0 without one."""
    cdef const unsigned char *at = <const unsigned char *>data + offset
    cdef const RecordHeader *header = <const RecordHeader *>at
    if offset < 0 or len(data) - offset < RECORD_HEADER_SIZE:
        return 0
    return record_size(header.payload_size) if header_is_valid(at, PY_SSIZE_T_MAX, seed, epoch) else 0


def walk(bytes data not None, Py_ssize_t offset, uint32_t seed, uint32_t epoch, uint64_t sequence):
    """Go over the whole records at ``offset``, the first of which is ``sequence`` (0: any).

    Returns (offset, sequence, sealed): where the next record should be, which one that is (0: no record was there),
    and whether a mark says that nothing follows.
    """
    cdef const unsigned char *start = data
    cdef Py_ssize_t size = len(data)
    cdef const RecordHeader *header
    cdef bint sealed = False
    with nogil:
        while not sealed and record_is_valid(start + offset, size - offset, seed, epoch):
            header = <const RecordHeader *>(start + offset)
            if sequence != 0 and header.sequence != sequence:
                break
            sequence = header.sequence + 1
            sealed = header.kind == KIND_SEALED or header.kind == KIND_STOPPED
            offset += record_size(header.payload_size)
    return offset, sequence, sealed


def solve_seed(bytes data not None, Py_ssize_t offset, uint64_t sequence):
    """Find the seed and the epoch of a file whose header is lost, from its records from ``offset`` on.

    The checksum of a whole record tells from which checksum it went on. That is believed only if the next record gives
    the same: a damaged record would lead somewhere else. If there are records that lead to different seeds, nobody
    knows which ones stand in the payload of another. Records before ``sequence`` are not believed: they are of the
    file's earlier life. Returns (seed, epoch), or None.
    """
    cdef const unsigned char *start = data
    cdef Py_ssize_t first = offset
    cdef Py_ssize_t size = len(data)
    cdef Py_ssize_t length, step
    cdef const RecordHeader *header
    cdef uint32_t seed = 0, epoch = 0, other
    cdef bint ambiguous = False
    with nogil:
        while offset + RECORD_HEADER_SIZE <= size and not ambiguous:
            header = <const RecordHeader *>(start + offset)
            length = record_size(header.payload_size)
            step = RECORD_ALIGNMENT
            if epoch != 0 and record_is_valid(start + offset, size - offset, seed, epoch):
                step = length
            elif (
                header.epoch != 0 and header.sequence >= sequence and header.durable < header.sequence
                and header.flags <= FLAG_UNIT_ENDS and length <= size - offset
            ):
                other = checksum_before(
                    header.checksum, start + offset + RECORD_CHECKED_FROM, length - RECORD_CHECKED_FROM
                )
                if not header_is_valid(start + offset, size - offset, other, header.epoch):
                    pass
                elif record_is_valid(start + offset + length, size - offset - length, other, header.epoch):
                    ambiguous = epoch != 0 and other != seed
                    seed = other
                    epoch = header.epoch
                    step = length
                elif offset == first and header.durable + 1 == header.sequence:
                    # It looks as the first record of a segment does: what its payload imitates does not count.
                    step = length
            offset += step
    return (seed, epoch) if epoch != 0 and not ambiguous else None
