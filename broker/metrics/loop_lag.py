"""How late the event loop is: what a timer comes too late is what a message has to wait."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left

PERIOD_S = 0.02
"""A stall counts with its length less this at most: one of twice this length is always seen."""

BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class LoopLag:
    """A histogram of the loop's lateness in seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0
        self._loop: asyncio.AbstractEventLoop
        self._due = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Measure from now on."""
        self._loop = loop
        self._wait()

    def _measure(self) -> None:
        lag = max(0.0, time.monotonic() - self._due)
        self.counts[bisect_left(BOUNDS_S, lag)] += 1
        self.sum_s += lag
        self._wait()

    def _wait(self) -> None:
        # Not the loop's time: that is taken once a turn, and in whole milliseconds.
        self._due = time.monotonic() + PERIOD_S
        self._loop.call_later(PERIOD_S, self._measure)

    def histogram(self) -> list[tuple[float, int]]:
        """Return how many measurements lay up to each bound, and above the one before."""
        return list(zip((*BOUNDS_S, float("inf")), self.counts, strict=True))
