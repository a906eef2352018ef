"""The time of day."""

def now_ms() -> int:
    """Return the time in milliseconds since 1970, as messages, expiries and delays are measured."""

def stand_still(time_ms: int) -> None:
    """Let the time be ``time_ms`` until this is called again; 0 lets the clock go on. For tests that pass time."""
