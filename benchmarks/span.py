"""The span of time that is measured: all processes of a run count in it, by the clock that they share."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.usage import Meter, Usage
from benchmarks.workers import Worker

START_S = 0.01


class Span:
    """Counts what there was in a span of time."""

    def __init__(self, begin_s: float, end_s: float) -> None:
        self._begin_s, self._end_s = begin_s, end_s
        self._first: tuple[float, tuple[int, ...]] | None = None
        self._last: tuple[float, tuple[int, ...]] | None = None

    def over(self, *counts: int) -> bool:
        """Take in how much there was up to now; return whether the span is over."""
        now = time.monotonic()
        if self._first is None and now >= self._begin_s:
            self._first = (now, counts)
        elif now >= self._end_s:
            self._last = (now, counts)
            return True
        return False

    @property
    def rates(self) -> list[float]:
        """How much of each there was in a second."""
        assert self._first is not None
        assert self._last is not None
        seconds = self._last[0] - self._first[0]
        return [(last - first) / seconds for last, first in zip(self._last[1], self._first[1], strict=True)]

    def counts_since(self, moment_s: float) -> bool:
        """Return whether something that began then belongs to the span."""
        return moment_s >= self._begin_s


def measured(workers: Sequence[Worker], pid: int, seconds: float, warmup_s: float = 0.0) -> Usage:
    """Tell workers that are ready their span, and return what the broker used in it."""
    begin = time.monotonic() + START_S + warmup_s
    for worker in workers:
        worker.send((begin, begin + seconds))
    time.sleep(max(0.0, begin - time.monotonic()))
    meter = Meter(pid)
    time.sleep(max(0.0, begin + seconds - time.monotonic()))
    return meter.read()
