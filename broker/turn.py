"""What is put off to the end of the event loop's turn, so that it is done once for many messages."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import cython

from broker.busy_poll import BusyPoll

if not cython.compiled:
    from time import monotonic_ns

# What all queues together hand over in one turn when they go on with what waits, so that many long backlogs do not hold
# up the event loop either: so many messages without a body to speak of, which takes a few milliseconds.
HANDED_OVER_PER_TURN_MAX = 8_192

# What a queue hands over at a time, the more the fewer queues want to go on.
HANDED_OVER_AT_ONCE_MAX = 2_048
HANDED_OVER_AT_ONCE_MIN = 32

# How many connections are served before the journals are committed. Handing a commit to its thread means to wake that,
# and whoever is to get a message is woken first; but the disk does not wait for the writes of a thousand connections.
SERVED_BEFORE_COMMIT_MAX = 16


class EndOfTurn:
    """Something that has work to do at the end of a turn; connections are."""

    def __init__(self) -> None:
        self.end_of_turn_wanted = False

    def end_turn(self) -> int:
        """Do the work."""
        raise NotImplementedError


class Turn:
    """One turn of the event loop: reads come first, then one write per connection, and one commit per journal.

    Queues that go on with their backlogs share what one turn allows: each hands over up to its ``share()`` at a time,
    and takes that off ``hand_over_left``. ``busy_poll`` is told when a turn begins and when it ends.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], Any], busy_poll: BusyPoll | None = None) -> None:
        self._call_soon = call_soon
        self._run = self.run
        self._busy_poll = busy_poll
        self._scheduled = False
        self.publishers_blocked = False
        # A coarse clock: how often the broker has looked after its connections.
        self.tick = 0
        self.hand_over_left = HANDED_OVER_PER_TURN_MAX
        self._share = HANDED_OVER_AT_ONCE_MAX
        self._share_min = HANDED_OVER_AT_ONCE_MIN
        self._waiting: list[EndOfTurn] = []
        # Each once, in the order in which it was wanted first.
        self._steps: dict[Callable[[], Any], None] = {}
        self._journals: list[Callable[[], Any]] = []
        self._wakes: OrderedDict[Any, None] = OrderedDict()

    def want_end(self, waiting: EndOfTurn) -> int:
        """Call ``waiting.end_turn()`` at the end of this turn, once."""
        if not waiting.end_of_turn_wanted:
            waiting.end_of_turn_wanted = True
            self._waiting.append(waiting)
            if not self._scheduled:
                self._schedule()
        return 0

    def want_commit(self, commit: Callable[[], Any]) -> None:
        """Call ``commit`` at the end of this turn."""
        self._journals.append(commit)
        if not self._scheduled:
            self._schedule()

    def want_step(self, step: Callable[[], Any]) -> None:
        """Call ``step`` at the end of this turn, before the journals are committed; once, however often it is wanted.

        A step that is called may want itself again: for the next turn.
        """
        self._steps[step] = None
        if not self._scheduled:
            self._schedule()

    def wake_later(self, queue: Any) -> None:
        """Go on with the deliveries of a queue in the next turn, or as soon as it is its turn among others."""
        self._wakes[queue] = None
        if not self._scheduled:
            self._schedule()

    def share(self) -> int:
        """Return how much a queue may hand over at a time: a little always, as somebody has asked for it."""
        return max(min(self._share, self.hand_over_left), self._share_min)

    def _schedule(self) -> int:
        self._scheduled = True
        self._call_soon(self._run)
        return 0

    def run(self) -> None:
        """End the turn.

        What raises is done with, and the event loop tells of it; what has not had its turn has it in the next one.
        """
        self._scheduled = False
        self.hand_over_left = HANDED_OVER_PER_TURN_MAX
        if self._busy_poll is not None:
            self._busy_poll.begin_turn(monotonic_ns())
        try:
            if self._wakes:
                self._wake_some()
            if self._steps:
                self._take_steps()
            if self._waiting:
                self._end_turns()
            if self._journals:
                self._call_each(self._journals)
        finally:
            # Whatever was put off meanwhile has seen to it that there is a next turn, and what is left has not.
            if not self._scheduled and (self._wakes or self._steps or self._journals or self._waiting):
                self._schedule()
            if self._busy_poll is not None:
                self._busy_poll.end_turn(monotonic_ns())

    def _wake_some(self) -> int:
        """Let queues go on as far as the turn allows; those that have not had theirs go on before the others."""
        count: cython.Py_ssize_t = len(self._wakes)
        share: cython.Py_ssize_t = HANDED_OVER_PER_TURN_MAX // count
        self._share = max(HANDED_OVER_AT_ONCE_MIN, min(share, HANDED_OVER_AT_ONCE_MAX))
        while count and self.hand_over_left > 0:
            count -= 1
            queue, _ = self._wakes.popitem(last=False)
            # One that has nothing to hand over costs something too.
            self.hand_over_left -= 1
            queue.wake()
        if not self._wakes:
            self._share = HANDED_OVER_AT_ONCE_MAX
        return 0

    def _take_steps(self) -> int:
        """Take the steps that have gathered. Those that are wanted meanwhile stay, and those behind one that raises."""
        steps = list(self._steps)
        self._steps = {}
        done: cython.Py_ssize_t = 0
        try:
            for step in steps:
                done += 1
                step()
        finally:
            if done < len(steps):
                self._steps = dict.fromkeys(steps[done:]) | self._steps
        return 0

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
                if done == SERVED_BEFORE_COMMIT_MAX:
                    self._call_each(self._journals)
                done += 1
                waiting.end_of_turn_wanted = False
                waiting.end_turn()
        finally:
            if done < len(ended):
                self._waiting[:0] = ended[done:]
        return 0
