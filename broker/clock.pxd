cpdef unsigned long long now_ms() noexcept
