"""The time of day."""

def now_ms() -> int:
    """Return the time in milliseconds since 1970, as messages, expiries and delays are measured."""
