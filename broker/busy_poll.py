"""Looking for work a little longer before the event loop sleeps, where it is likely to come soon.

Whoever sleeps has to be woken, and on a virtual machine that takes longer than to answer a small request. Where
requests come one at a time, each as soon as the last is answered, most of the latency is waking.
"""

from collections.abc import Callable
from typing import Any

import cython

from broker.processors import available_processors

if not cython.compiled:
    from os import sched_yield
    from time import monotonic_ns

# What is learnt from: for each course that the last few waits can have taken, whether the next one was short. Requests
# and answers take turns, as do commits and confirms, so a wait tells of the next but one.
REMEMBERED_WAITS = 4
COURSES = 1 << REMEMBERED_WAITS
# How often in a row, at most, a wait counts, and how often it has to have been short.
CONFIDENCE_MAX = 3
CONFIDENCE_NEEDED = 2
# What was waited for asleep would have been there earlier: so long does it take, at most, to be woken.
WAKING_NS = 50_000

# With less, looking would use up the time of those that are to send what is looked for.
PROCESSORS_MIN = 2


def busy_poll(call_soon: Callable[[Callable[[], None]], Any], duration_us: int) -> "BusyPoll | None":
    """Return what keeps the event loop from sleeping; None if ``duration_us`` is 0, or with too few processors."""
    return BusyPoll(call_soon, duration_us) if duration_us and available_processors() >= PROCESSORS_MIN else None


class BusyPoll:
    """Keeps the event loop from sleeping for ``duration_us`` after a turn, if work has come so soon in the like case.

    An event loop that has something to do asks the system for events without waiting for any. So all that is done is to
    have something to do: ``look``, again and again.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], Any], duration_us: int) -> None:
        self._call_soon = call_soon
        self._look = self.look
        self._duration_ns = duration_us * 1000
        self._course = 0
        self._ended_at_ns = 0
        self._until_ns = 0
        self._idle = False
        self.looking = False
        self._confidence = bytearray(COURSES)

    def begin_turn(self, now_ns: cython.longlong) -> int:
        """Take note that there is work again, at a time of the monotonic clock."""
        self._idle = False
        soon: cython.bint = now_ns - self._ended_at_ns < self._duration_ns + (0 if self.looking else WAKING_NS)
        if soon:
            if self._confidence[self._course] < CONFIDENCE_MAX:
                self._confidence[self._course] += 1
        elif self._confidence[self._course]:
            self._confidence[self._course] -= 1
        self._course = (self._course << 1 | soon) & (COURSES - 1)
        return 0

    def end_turn(self, now_ns: cython.longlong) -> int:
        """Look for work for a while, if that has paid: nothing is left to do."""
        self._ended_at_ns = now_ns
        if self._confidence[self._course] < CONFIDENCE_NEEDED:
            self._until_ns = 0
            return 0
        self._until_ns = now_ns + self._duration_ns
        if not self.looking:
            self.looking = True
            self._call_soon(self._look)
        return 0

    def look(self) -> None:
        """Go on looking, or let the event loop sleep (called by the event loop, which has looked before)."""
        if monotonic_ns() >= self._until_ns:
            self.looking = False
            return
        if self._idle:
            # Whoever is to send the work may have no other processor to do it on.
            with cython.nogil:
                sched_yield()
        self._idle = True
        self._call_soon(self._look)
