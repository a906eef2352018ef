"""What is put off to the end of the event loop's turn, so that it is done once for many messages."""

from collections.abc import Callable
from typing import Any

import cython


class EndOfTurn:
    """Something that has work to do at the end of a turn; connections are."""

    def __init__(self) -> None:
        self.end_of_turn_wanted = False

    def end_turn(self) -> int:
        """Do the work."""
        raise NotImplementedError


class Turn:
    """One turn of the event loop: reads come first, then one commit per journal, then one write per connection."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], Any]) -> None:
        self._call_soon = call_soon
        self._run = self.run
        self._scheduled = False
        self.publishers_blocked = False
        # A coarse clock: how often the broker has looked after its connections.
        self.tick = 0
        self._waiting: list[EndOfTurn] = []
        self._steps: list[Callable[[], Any]] = []
        self._journals: list[Callable[[], Any]] = []
        self._wakes: list[Callable[[], Any]] = []

    def has_work(self) -> bool:
        """Return whether anything is put off to the end of this turn."""
        return self._scheduled

    def want_end(self, waiting: EndOfTurn) -> int:
        """Call ``waiting.end_turn()`` at the end of this turn, once."""
        if not waiting.end_of_turn_wanted:
            waiting.end_of_turn_wanted = True
            self._waiting.append(waiting)
            if not self._scheduled:
                self._schedule()
        return 0

    def want_commit(self, commit: Callable[[], Any]) -> None:
        """Call ``commit`` at the end of this turn, before anything is sent."""
        self._journals.append(commit)
        if not self._scheduled:
            self._schedule()

    def want_step(self, step: Callable[[], Any]) -> None:
        """Call ``step`` at the end of this turn, before the journals are committed."""
        self._steps.append(step)
        if not self._scheduled:
            self._schedule()

    def wake_later(self, queue: Any) -> None:
        """Go on with the deliveries of a queue in the next turn."""
        self._wakes.append(queue.wake)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> int:
        self._scheduled = True
        self._call_soon(self._run)
        return 0

    def run(self) -> None:
        """End the turn.

        What raises is done with, and the event loop tells of it; what has not had its turn has it in the next one.
        """
        self._scheduled = False
        try:
            if self._wakes:
                self._call_each(self._wakes)
            if self._steps:
                self._call_each(self._steps)
            if self._journals:
                self._call_each(self._journals)
            if self._waiting:
                self._end_turns()
        finally:
            # Whatever was put off meanwhile has seen to it that there is a next turn, and what is left has not.
            if not self._scheduled and (self._wakes or self._steps or self._journals or self._waiting):
                self._schedule()

    def _call_each(self, calls: list[Callable[[], Any]]) -> int:
        """Make the calls that have gathered. Those that come meanwhile stay, and those behind one that raises."""
        done: cython.Py_ssize_t = 0
        try:
            for call in calls[:]:
                done += 1
                call()
        finally:
            del calls[:done]
        return 0

    def _end_turns(self) -> int:
        ended = self._waiting
        self._waiting = []
        waiting: EndOfTurn
        done: cython.Py_ssize_t = 0
        try:
            for waiting in ended:
                done += 1
                waiting.end_of_turn_wanted = False
                waiting.end_turn()
        finally:
            if done < len(ended):
                self._waiting[:0] = ended[done:]
        return 0
