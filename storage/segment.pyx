"""One segment of the journal, as it is counted in memory."""

cimport cython


@cython.final
@cython.no_gc
cdef class Segment:
    """A segment file: which records it holds, and how many of them are still needed.

    ``size`` is the number of bytes in use, header included; ``last_sequence`` and ``state_sequence`` are the
    sequences of its last record and of its last state record (0: none); ``sealed`` means that nothing will be
    added.
    """

    def __cinit__(self, unsigned long long number):
        self.number = number
        self.file.descriptor = -1

    def __repr__(self):
        return f"<Segment {self.number}: {self.size} bytes, {self.live} live>"

    cpdef void retain(self) noexcept:
        """Count one more record of this segment that is needed."""
        self.live += 1

    cpdef void release(self) noexcept:
        """Count one record less that is needed."""
        self.live -= 1

    def seal(self):
        """Say that nothing will be added."""
        self.sealed = True

    def cut(self, long long size, unsigned long long last_sequence):
        """Take back the records after ``last_sequence``, which begin at offset ``size``."""
        self.size = size
        self.last_sequence = last_sequence
        self.state_sequence = min(self.state_sequence, last_sequence)
