from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

# The record. docs/journal-format.md says the same with words.

cdef packed struct RecordHeader:
    uint32_t checksum       # of the file id, all that follows here, the payload and its padding
    uint32_t payload_size
    uint64_t sequence       # counts the records of a journal from 1, without a gap
    uint64_t durable        # every record up to this sequence was on disk when this one was written
    uint32_t epoch          # which opening of the journal wrote it
    uint8_t kind
    uint8_t flags
    uint16_t header_check   # low half of the checksum of file id and header up to here: says whether its size is true


cdef enum:
    RECORD_HEADER_SIZE = 32
    RECORD_ALIGNMENT = 8
    RECORD_CHECKED_FROM = 4     # the header behind its checksum ...
    RECORD_CHECKED_TO = 30      # ... and before its own check
    FLAG_UNIT_ENDS = 1
    KIND_VOLATILE_MIN = 96  # kinds from here on mean nothing after a restart, and nobody waits until they are on disk
    KIND_STATE_MIN = 128    # kinds from here on are covered by checkpoints
    KIND_MARK_MIN = 240     # kinds from here on are the journal's own
    KIND_SEALED = 240       # the segment is full; the log goes on in the next
    KIND_STOPPED = 241      # the journal was closed; everything before is on disk
    KIND_RECLAIMED = 242    # segments before the named one may be gone


cdef inline Py_ssize_t record_size(Py_ssize_t payload_size) noexcept nogil:
    return (RECORD_HEADER_SIZE + payload_size + RECORD_ALIGNMENT - 1) & ~<Py_ssize_t>(RECORD_ALIGNMENT - 1)


cdef void finish_records(
    unsigned char *data, Py_ssize_t size, uint32_t seed, uint64_t durable, uint64_t *last_sequence
) noexcept nogil

cdef bint header_is_valid(
    const unsigned char *data, Py_ssize_t size, uint32_t seed, uint32_t epoch
) noexcept nogil

cdef bint record_is_valid(
    const unsigned char *data, Py_ssize_t size, uint32_t seed, uint32_t epoch
) noexcept nogil
