"""What the owner of a journal does with its records at a start: it needs a summary of each, and no more."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from storage.record cimport record_size
from storage.segment cimport RECORD_UNIT_SIZE, Segment


cdef class Replayer:
    def __cinit__(self):
        self._scratch = bytearray()

    cdef Py_ssize_t summarize(
        self, unsigned char kind, const unsigned char *payload, Py_ssize_t size, unsigned char *to
    ) noexcept nogil:
        """Write the summary of a record to where there is room for ``summary_size_max(size)``; return its size.

        It may be called by several threads at once.
        """
        memcpy(to, payload, size)
        return size

    cdef int take(
        self, unsigned char kind, uint64_t sequence, const unsigned char *summary, Py_ssize_t size, Segment segment,
        uint32_t offset_units, uint32_t record_units
    ) except -1:
        """Take in a record by its summary: it takes ``record_units`` at ``offset_units`` of its segment."""
        self.on_record(kind, sequence, summary[:size], segment, offset_units * <long long>RECORD_UNIT_SIZE)
        return 0

    def on_record(self, kind, sequence, summary, segment, offset):
        """Take in a record by its summary."""

    def take_records(self, list records):
        """Take in records as a ``RecordReader`` has read them, with payloads or with summaries."""
        cdef bytes data
        cdef Segment segment
        cdef Py_ssize_t size
        cdef unsigned char *summary
        for record in records:
            data, segment = record[2], record[3]
            if len(record) == 6:
                self.take(record[0], record[1], data, len(data), segment, record[4], record[5])
                continue
            if len(self._scratch) < summary_size_max(len(data)):
                self._scratch = bytearray(summary_size_max(len(data)))
            summary = self._scratch
            size = self.summarize(record[0], data, len(data), summary)
            self.take(
                record[0], record[1], summary, size, segment, <uint32_t>(record[4] // RECORD_UNIT_SIZE),
                <uint32_t>(record_size(len(data)) // RECORD_UNIT_SIZE),
            )
