"""The time of day, as messages, expiries and delays are measured: it has to mean the same after a restart."""

from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec


cpdef unsigned long long now_ms() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <unsigned long long>now.tv_sec * 1000 + now.tv_nsec // 1000000
