cimport cython

from storage.segment cimport Segment


@cython.final
cdef class Reclaimer:
    cdef object journal                     # a Journal
    cdef object snapshot
    cdef list segments                      # sealed, oldest first
    cdef dict by_number                     # these and the current one
    cdef int unfinished                     # index of the first of them whose file is still open
    cdef unsigned long long checkpoint_sequence
    cdef bint due
    cdef object compactor                   # a Compactor, or None
    cdef readonly unsigned long long passed_over    # how many segments went before older ones

    cdef unsigned long long _mark_batch     # the batch with the mark that lets segments go
    cdef list _marked                       # the numbers of those segments, None if there is none
    cdef Py_ssize_t _looks_skipped
    cdef object _slices                     # of a checkpoint that the owner is encoding, None without one
    cdef unsigned long long _slices_sequence
    cdef object checkpoint                  # on its way to disk
    cdef bint _checkpoint_handed_over
    cdef unsigned long long _checkpoint_not_before

    cdef int go_on(self) except -1
    cdef int reclaim(self) except -1
    cdef int collect_checkpoint(self, object checkpoint, object obstacle) except -1
    cdef int _look(self) except -1
    cdef Py_ssize_t _count_dispensable(self) except -1
    cdef int _mark(self, list dispensable) except -1
    cdef int _let_go(self) except -1
    cdef int _compact(self) except -1
    cdef int _start_checkpoint(self) except -1
    cdef int _take_slice(self) except -1
    cdef int _hand_over_checkpoint(self) except -1
