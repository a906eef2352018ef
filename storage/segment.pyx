"""One segment of the journal, as it is counted in memory."""

cimport cython

UNIT_SIZE = RECORD_UNIT_SIZE


@cython.final
@cython.no_gc
cdef class Segment:
    """A segment file: which records it holds, and how many of them are still needed.

    ``size`` is the number of bytes in use, header included; ``last_sequence`` and ``state_sequence`` are the
    sequences of its last record and of its last state record (0: none); ``sealed`` means that nothing will be
    added. ``live`` counts who needs its records, ``live_units`` how much of them, in units of ``RECORD_UNIT_SIZE``.
    ``settled_sequence`` is the last record that says more about its records, as far as the owner tells.
    What lies before ``written_size`` can be read back. ``seed`` and ``epoch`` are what its records are checked with.
    ``created_us`` is when its header was made, in microseconds since 1970, 0 if that is not known. ``capacity`` is
    the size of its file, if that is larger than what was asked for.
    """

    def __cinit__(self, unsigned long long number, unsigned int epoch=0, unsigned int seed=0):
        self.number = number
        self.epoch = epoch
        self.attention = True
        self.file.descriptor = -1
        self.file.seed = seed

    def __repr__(self):
        return f"<Segment {self.number}: {self.size} bytes, {self.live} live>"

    cpdef void retain(self, unsigned int units=0) noexcept:
        """Count one more who needs a record of this segment, or his share of it."""
        self.live += 1
        self.live_units += units

    cpdef void release(self, unsigned int units=0) noexcept:
        """Count one less; ``units`` are those that were given to ``retain``."""
        self.live -= 1
        self.live_units -= units

    cpdef void supersede(self) noexcept:
        """Say that there are later copies of some of its messages in the log."""
        self.superseded = True

    @property
    def seed(self):
        """What the checksums of its records begin with, once its file is prepared."""
        return self.file.seed

    def be_checked_with(self, unsigned int seed, unsigned int epoch):
        """Say what its records are checked with."""
        self.file.seed = seed
        self.epoch = epoch

    def seal(self):
        """Say that nothing will be added, and that everything is written."""
        self.sealed = True
        self.written_size = self.size

    def cut(self, long long size, unsigned long long last_sequence):
        """Take back the records after ``last_sequence``, which begin at offset ``size``."""
        self.size = size
        self.last_sequence = last_sequence
        self.state_sequence = min(self.state_sequence, last_sequence)
