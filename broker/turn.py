"""What is put off to the end of the event loop's turn, so that it is done once for many messages."""

from collections.abc import Callable
from typing import Any


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
        self._waiting: list[EndOfTurn] = []
        self._steps: list[Callable[[], Any]] = []
        self._journals: list[Callable[[], Any]] = []
        self._queues: list[Any] = []

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
        self._queues.append(queue)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> int:
        self._scheduled = True
        self._call_soon(self._run)
        return 0

    def run(self) -> None:
        """End the turn."""
        self._scheduled = False
        waiting: EndOfTurn
        if self._queues:
            queues = self._queues
            self._queues = []
            for queue in queues:
                queue.wake()
        if self._steps:
            steps = self._steps
            self._steps = []
            for step in steps:
                step()
        if self._journals:
            journals = self._journals
            self._journals = []
            for commit in journals:
                commit()
        if self._waiting:
            ended = self._waiting
            self._waiting = []
            for waiting in ended:
                waiting.end_of_turn_wanted = False
                waiting.end_turn()
