"""The time of day, and one that only goes forwards."""

def now_ms() -> int:
    """Return the time in milliseconds since 1970, as messages, expiries and delays are measured."""

def monotonic_ns() -> int:
    """Return the time in nanoseconds since whenever, for durations."""

def stand_still(time_ms: int) -> None:
    """Let the time be ``time_ms`` until this is called again; 0 lets the clock go on. For tests that pass time."""
