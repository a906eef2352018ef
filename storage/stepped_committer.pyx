"""A committer without a thread: its batches are written when a simulated machine says so."""

from libc.stdint cimport uint64_t

from storage.committer cimport SUBMITTED, Committer


cdef class SteppedCommitter(Committer):
    """Commits as ``Committer`` does, in the thread that calls ``step``.

    ``machine`` is asked to ``finish_commit(committer)`` by whoever waits for a batch, and for the time,
    ``monotonic_ns()``.
    """

    cdef public object machine

    def start(self):
        """Have no thread."""

    def stop(self):
        """Take no further step."""
        self.stopping = True

    @property
    def can_step(self):
        """Whether there is a batch to be written, and all files that it goes to are prepared."""
        cdef int index
        if self.state != SUBMITTED or self.stopping:
            return False
        for index in range(self.batch.extent_count):
            if self.batch.extents[index].end > self.batch.extents[index].start:
                if not self.batch.extents[index].file.ready:
                    return False
        return True

    @property
    def waits(self):
        """Whether there is a batch that has not been written yet."""
        return self.state == SUBMITTED

    def step(self):
        """Write the batch."""
        with nogil:
            self._commit_submitted()

    cdef void wait(self) noexcept:
        self.machine.finish_commit(self)

    cdef uint64_t now_ns(self) noexcept nogil:
        with gil:
            return self.machine.monotonic_ns()
