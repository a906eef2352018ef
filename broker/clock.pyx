"""The time of day, as messages, expiries and delays are measured: it has to mean the same after a restart. And one that
only goes forwards."""

from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec


# Where the clock stands still, 0 while it goes.
cdef unsigned long long standing_ms = 0


cpdef unsigned long long now_ms() noexcept:
    cdef timespec now
    if standing_ms:
        return standing_ms
    clock_gettime(CLOCK_REALTIME, &now)
    return <unsigned long long>now.tv_sec * 1000 + now.tv_nsec // 1000000


cpdef long long monotonic_ns() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <long long>now.tv_sec * 1000000000 + now.tv_nsec


def stand_still(unsigned long long time_ms):
    global standing_ms
    standing_ms = time_ms
