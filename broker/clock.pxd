cpdef unsigned long long now_ms() noexcept
cpdef long long monotonic_ns() noexcept
