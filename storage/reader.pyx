"""Reads the records of a journal's segments, one segment after the other."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t

from storage.index_stream cimport get_varint
from storage.record cimport (
    FLAG_UNIT_ENDS, KIND_MARK_MIN, KIND_RECLAIMED, KIND_STATE_MIN, RECORD_HEADER_SIZE, RecordHeader,
    record_is_valid, record_size,
)
from storage.replayer cimport Replayer
from storage.segment cimport RECORD_UNIT_SIZE, Segment


@cython.final
cdef class RecordReader:
    """Hands out the records of whole units and stops at the first record that is not as it should be.

    State records up to ``state_through`` are left out: a checkpoint covers them. After a segment was read,
    ``offset`` is where the next record should be, ``sequence`` the last that was read, ``mark`` the kind of the mark
    that ended the segment (0: none), ``batch_offset`` the place behind which nothing proves that the records were on
    disk. In the middle of a unit, ``unit_segment``, ``unit_offset`` and ``unit_sequence`` say where it began and
    which record was the last before it. ``reclaimed`` is the payload of the last mark of that kind, or None.
    """

    cdef bytes _data
    cdef Segment _segment
    cdef uint32_t _seed
    cdef uint32_t _epoch
    cdef uint64_t _state_through
    cdef uint64_t _durable
    cdef list _pending
    cdef list _finished

    cdef readonly Py_ssize_t offset
    cdef readonly Py_ssize_t batch_offset
    cdef readonly unsigned long long sequence
    cdef readonly int mark
    cdef readonly Segment unit_segment
    cdef readonly Py_ssize_t unit_offset
    cdef readonly unsigned long long unit_sequence
    cdef readonly bytes reclaimed

    def __init__(self, uint64_t state_through):
        self._state_through = state_through
        self._pending = []
        self._finished = []

    def begin(self, Segment segment not None, bytes data not None, Py_ssize_t offset, uint32_t seed, uint32_t epoch):
        """Go on with a segment, whose content is ``data`` and whose first record is at ``offset``."""
        self._segment = segment
        self._data = data
        self._seed = seed
        self._epoch = epoch
        self.offset = self.batch_offset = offset
        self.mark = 0
        segment.size = offset
        segment.file.seed = seed
        segment.epoch = epoch

    def resume(self, Py_ssize_t offset, unsigned long long sequence):
        """Go on at ``offset`` with the record ``sequence``, behind a damaged stretch that had been on disk.

        A unit that had begun counts as whole: it is of a batch that was synced, and what is left of it is kept.
        """
        self._finished.extend(self._pending)
        self._pending.clear()
        self.unit_segment = None
        self.offset = offset
        self.sequence = sequence - 1
        self._segment.size = offset

    def leap(self, unsigned long long sequence):
        """Go on with the record ``sequence``, behind segments that were not needed. Returns what is left of a unit."""
        left = self._finished + self._pending
        self._finished = []
        self._pending = []
        self.unit_segment = None
        self.sequence = sequence - 1
        return left

    def read(self, Py_ssize_t count_max):
        """Return the next records as (kind, sequence, payload, segment, offset), ``count_max`` or a unit of more.

        An empty list means that the segment's whole records have all been read.
        """
        cdef const unsigned char *data = self._data
        cdef Py_ssize_t size = len(self._data)
        cdef const RecordHeader *header
        cdef Segment segment = self._segment
        cdef list records = self._finished
        cdef Py_ssize_t count = len(records)
        self._finished = []
        while count < count_max and self.mark == 0:
            header = <const RecordHeader *>(data + self.offset)
            if not record_is_valid(data + self.offset, size - self.offset, self._seed, self._epoch):
                break
            if header.sequence != self.sequence + 1 and self.sequence != 0:
                break
            if header.durable != self._durable:
                self._durable = header.durable
                self.batch_offset = self.offset
            if header.kind >= KIND_MARK_MIN:
                if header.kind == KIND_RECLAIMED:
                    self.reclaimed = data[self.offset + RECORD_HEADER_SIZE:
                                          self.offset + RECORD_HEADER_SIZE + header.payload_size]
                else:
                    self.mark = header.kind
            else:
                if self.unit_segment is None:
                    self.unit_segment = segment
                    self.unit_offset = self.offset
                    self.unit_sequence = self.sequence
                if header.kind >= KIND_STATE_MIN:
                    segment.state_sequence = header.sequence
                if header.kind < KIND_STATE_MIN or header.sequence > self._state_through:
                    self._pending.append((
                        header.kind,
                        header.sequence,
                        PyBytes_FromStringAndSize(
                            <const char *>header + RECORD_HEADER_SIZE, header.payload_size
                        ),
                        segment,
                        self.offset,
                    ))
                if header.flags & FLAG_UNIT_ENDS:
                    self.unit_segment = None
                    count += len(self._pending)
                    records.extend(self._pending)
                    self._pending.clear()
            self.sequence = header.sequence
            self.offset += record_size(header.payload_size)
            segment.last_sequence = header.sequence
            segment.size = self.offset
        return records

    def replay_index(
        self, Segment segment not None, bytes stream not None, Py_ssize_t offset, unsigned long long first_sequence,
        Replayer replayer not None
    ):
        """Go on with a segment of which ``stream`` is the content of its index, and hand out its summaries.

        Raises ValueError where the stream is not whole; what was handed out then is not to be used.
        """
        cdef const unsigned char *at = stream
        cdef const unsigned char *end = at + len(stream)
        cdef uint64_t sequence = first_sequence
        cdef uint64_t record_units = 0, size = 0
        cdef unsigned char kind, flags
        self.mark = 0
        while at < end:
            at = get_varint(at, end, &record_units)
            if at is NULL or end - at < 2:
                raise ValueError("the index ends within an entry")
            kind, flags = at[0], at[1]
            at = get_varint(at + 2, end, &size)
            if at is NULL or <uint64_t>(end - at) < size:
                raise ValueError("the index ends within an entry")
            if kind >= KIND_MARK_MIN:
                if kind == KIND_RECLAIMED:
                    self.reclaimed = at[:size]
                else:
                    self.mark = kind
            else:
                if self.unit_segment is None and not flags & FLAG_UNIT_ENDS:
                    self.unit_segment = segment
                    self.unit_offset = offset
                    self.unit_sequence = sequence - 1
                if kind >= KIND_STATE_MIN:
                    segment.state_sequence = sequence
                if kind < KIND_STATE_MIN or sequence > self._state_through:
                    if self.unit_segment is None:
                        replayer.take(
                            kind, sequence, at, size, segment, <uint32_t>(offset // RECORD_UNIT_SIZE),
                            <uint32_t>record_units,
                        )
                    else:
                        self._pending.append((
                            kind, sequence, PyBytes_FromStringAndSize(<const char *>at, size), segment,
                            offset // RECORD_UNIT_SIZE, record_units,
                        ))
                if flags & FLAG_UNIT_ENDS and self.unit_segment is not None:
                    self.unit_segment = None
                    replayer.take_records(self._pending)
                    self._pending.clear()
            at += size
            offset += <Py_ssize_t>record_units * RECORD_UNIT_SIZE
            self.sequence = segment.last_sequence = sequence
            sequence += 1
            segment.size = self.offset = offset
