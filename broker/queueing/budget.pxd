cimport cython


@cython.final
cdef class MemoryBudget:
    cdef readonly long long used_bytes
    cdef readonly long long limit_bytes
    cdef readonly bint reported
    cdef object _exceeded

    cdef int _report(self) except -1


cdef inline int charge(MemoryBudget budget, Py_ssize_t size_bytes) except -1:
    """Count in what a queue holds in memory from now on."""
    budget.used_bytes += size_bytes
    if budget.used_bytes > budget.limit_bytes and not budget.reported:
        budget._report()
    return 0

