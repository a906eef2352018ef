"""A fetcher without a thread: it reads when a simulated machine says so."""

from libc.stdint cimport uint64_t

from storage.fetcher cimport Fetcher, FetchWork
from storage.pthread cimport eventfd_write


cdef class SteppedFetcher(Fetcher):
    """Reads records back as ``Fetcher`` does, in the thread that calls ``step``."""

    def start(self):
        """Have no thread."""

    def stop(self):
        """Take no further step."""
        self.stopping = True
        self._close_descriptors()

    @property
    def can_step(self):
        """Whether there is something to read."""
        return not self.stopping and (self.waiting_count > 0 or self.close_all)

    def step(self):
        """Read what was asked for first."""
        cdef FetchWork *work
        if self.close_all:
            self.close_all = False
            self._close_descriptors()
        if self.waiting_count > 0:
            work = self._take_waiting()
            with nogil:
                self._serve(work)
            work.finished = True
            eventfd_write(self.completion, 1)
