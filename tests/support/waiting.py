"""Waiting for a condition."""

import time
from collections.abc import Callable

TIMEOUT_S = 10.0


def until(condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Ask again and again until ``condition`` holds; fail when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.002)
