"""The messages of a queue that wait for a time: delayed ones, and those that came back."""

from typing import Any

import cython

from broker.queueing.budget import MemoryBudget
from broker.queueing.due_heap import DueHeap
from broker.queueing.message import Message
from broker.queueing.ready import PagedMessage, ReadyMessages

if not cython.compiled:
    from broker.queueing.ready import NOT_HERE

# Times of messages that are gone are dropped when there are more of them than this, and more than messages.
TIMES_GONE_MAX = 1024


class WaitingMessages:
    """Messages by position, and the times before which they must not be delivered.

    Takes 40 octets for each beside the message. A position that is taken out with ``remove`` never comes back; one
    that was released may.
    """

    def __init__(self, budget: MemoryBudget) -> None:
        self.messages = ReadyMessages(budget)
        self._due = DueHeap()
        self.taken_position = 0
        self.taken_redelivered = False

    def __len__(self) -> int:
        return self.messages.length()

    def length(self) -> int:
        """Return how many messages wait."""
        return self.messages.length()

    def put(
        self,
        message: Message | PagedMessage,
        position: cython.ulonglong,
        redelivered: cython.bint,
        not_before_ms: cython.ulonglong,
    ) -> int:
        """Take in a message."""
        self.messages.insert(message, position, redelivered)
        return self._due.push(not_before_ms, position)

    def remove(self, position: cython.ulonglong) -> Message | PagedMessage | None:
        """Take out the message at a position for good; None if it is not here."""
        message = self.messages.remove(position)
        if message is not None:
            self.taken_position = position
            self.taken_redelivered = self.messages.taken_redelivered
            if self._due.length() > 2 * self.messages.length() + TIMES_GONE_MAX:
                self._forget_gone()
        return message

    def release(self, now: cython.ulonglong) -> Message | PagedMessage | None:
        """Take out the next message whose waiting is over, None if there is none."""
        while self._due.length() and self._due.first_due_ms() <= now:
            position: cython.ulonglong = self._due.pop()
            message = self.messages.remove(position)
            if message is not None:
                self.taken_position = position
                self.taken_redelivered = self.messages.taken_redelivered
                return message
        return None

    def next_due_ms(self) -> int:
        """Return the earliest time, 0 for never. It may be that of a message that is gone."""
        return self._due.first_due_ms()

    def _forget_gone(self) -> int:
        times = self._due.times_between(0, (1 << 64) - 1)
        self._due.clear()
        for position, due_ms in times.items():
            if self.messages.whereabouts(position) != NOT_HERE:
                self._due.push(due_ms, position)
        return 0

    def entries(self, from_position: int, count_max: int) -> list[Any]:
        """Return up to ``count_max`` messages by position, as (position, message, redelivered, not before in ms)."""
        found = self.messages.entries(from_position, count_max)
        if not found:
            return []
        times = self._due.times_between(found[0][0], found[len(found) - 1][0])
        return [(*entry, times[entry[0]]) for entry in found]

    def everything(self) -> list[Any]:
        """Return all messages, as ``entries`` does."""
        return self.entries(0, self.messages.length())
