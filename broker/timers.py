"""The clock that queues are woken by: one timer of the event loop for all queues."""

from __future__ import annotations

import asyncio
import heapq

from broker.clock import now_ms
from broker.queueing.queue import Queue

# Longer than this the timer never sleeps, so that it notices in time when the time of day is set.
SLEEP_MAX_S = 1.0

# Entries that count no more are dropped when there are more of them than this, and more than there are others.
ENTRIES_GONE_MAX = 1024

# How many queues are served before the event loop gets its turn again.
QUEUES_PER_TURN_MAX = 256


class QueueTimers:
    """Calls ``Queue.on_due`` when the time has come that a queue asked for."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heap: list[tuple[int, int, Queue]] = []
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._wakes_at_ms = 0
        self._forget_at = ENTRIES_GONE_MAX

    def __len__(self) -> int:
        return len(self._heap)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to call; what has been asked for before is kept."""
        self._loop = loop
        self._sleep()

    def close(self) -> None:
        """Call nobody any more."""
        self._loop = None
        if self._handle is not None:
            self._handle.cancel()

    def want(self, queue: Queue, due_ms: int) -> None:
        """Call ``queue.on_due`` at ``due_ms``, in milliseconds since 1970. Of several times the earliest counts."""
        queue.timer_due_ms = due_ms
        self._count += 1
        heapq.heappush(self._heap, (due_ms, self._count, queue))
        if len(self._heap) > self._forget_at:
            self._forget_gone()
        if self._handle is None or due_ms < self._wakes_at_ms:
            self._sleep()

    def _forget_gone(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].timer_due_ms == entry[0] and not entry[2].deleted]
        heapq.heapify(self._heap)
        self._forget_at = 2 * len(self._heap) + ENTRIES_GONE_MAX

    def _sleep(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._loop is None or not self._heap:
            return
        now = now_ms()
        self._wakes_at_ms = self._heap[0][0]
        # Up to the end of that millisecond: what wakes a little early finds nothing due.
        delay_s = (self._wakes_at_ms - now) / 1000
        self._handle = self._loop.call_later(min(max(delay_s, 0.0), SLEEP_MAX_S), self._run)

    def _run(self) -> None:
        self._handle = None
        now = now_ms()
        served = 0
        try:
            while self._heap and self._heap[0][0] <= now and served < QUEUES_PER_TURN_MAX:
                due_ms, _, queue = heapq.heappop(self._heap)
                # A queue that has asked for an earlier time since then has been called already.
                if queue.timer_due_ms == due_ms:
                    queue.timer_due_ms = 0
                    queue.on_due(now)
                    served += 1
        finally:
            self._sleep()
