"""What a queue holds, as far as nobody consumes it: counting, looking at it, taking out and putting back."""

from operator import itemgetter
from typing import Any

import cython

from broker.durability.queue_log import QueueLog
from broker.queueing.backlog import Backlog
from broker.queueing.message import Message
from broker.queueing.ready import ReadyMessages


class QueueContents:
    """The messages of a queue that are with no consumer.

    They are in a ring, or in a ``Backlog`` if the queue is managed. ``log`` is the queue's side of the journal, None
    for a queue that does not survive its broker.
    """

    def __init__(self, log: QueueLog | None) -> None:
        self.log = log
        self._ready = ReadyMessages()
        self._backlog: Backlog | None = None
        self._ready_bytes = 0
        # How often messages have come back, by position, where the queue counts that.
        self._return_counts: dict[int, int] = {}

    def ready_count(self) -> int:
        """Return how many messages wait for a consumer."""
        return self._ready.length() if self._backlog is None else self._backlog.count

    def ready_bytes(self) -> int:
        """Return the size of the bodies of the messages that wait for a consumer."""
        return self._ready_bytes if self._backlog is None else self._backlog.size_bytes

    def purge(self) -> int:
        """Drop all messages that are with no consumer, and return how many were ready."""
        count: cython.Py_ssize_t = self.ready_count()
        backlog: Backlog
        if self._backlog is None:
            while True:
                message = self._ready.take_first()
                if message is None:
                    break
                if self.log is not None:
                    self.log.acknowledge(message, self._ready.taken_position)
            self._ready_bytes = 0
            return count
        backlog = self._backlog
        entries = [(position, message) for position, message, _ in backlog.ready()]
        entries += [(position, message) for position, message, _, _ in backlog.waiting.everything()]
        for position, message in sorted(entries, key=itemgetter(0)):
            backlog.remove(position)
            self._return_counts.pop(position, None)
            if self.log is not None:
                self.log.acknowledge(message, position)
        return count

    def entries(self, from_position: int, count_max: int) -> list[Any]:
        """Return up to ``count_max`` ready messages by position, as (position, message, redelivered)."""
        if self._backlog is None:
            return self._ready.entries(from_position, count_max)
        return self._backlog.entries(from_position, count_max)

    def waiting_entries(self, from_position: int, count_max: int) -> list[Any]:
        """Return up to ``count_max`` messages that wait, as (position, message, redelivered, not before in ms)."""
        return [] if self._backlog is None else self._backlog.waiting.entries(from_position, count_max)

    def take_out(self, position: int) -> tuple[int, Message, bool, int] | None:
        """Take out a ready or waiting message, as (position, message, redelivered, not before in ms).

        ``forget`` or ``put_in`` comes next. None if it is not here.
        """
        for entry in (*self.waiting_entries(position, 1), *[(*one, 0) for one in self.entries(position, 1)]):
            if entry[0] == position:
                self.remove(position)
                found: tuple[int, Message, bool, int] = entry
                return found
        return None

    def put_in(self, position: int, message: Message, redelivered: bool, not_before_ms: int) -> None:
        """Put a message that was taken out back to its place."""
        backlog: Backlog
        if self._backlog is None:
            self._ready.insert(message, position, redelivered)
            self._ready_bytes += len(message.body)
            return
        backlog = self._backlog
        if not_before_ms:
            backlog.delay(message, position, redelivered, not_before_ms)
        else:
            backlog.offer(message, position, redelivered)

    def remove(self, position: int) -> Message | None:
        """Take a ready or waiting message out; it stays in the journal until ``forget``. None if it is not here."""
        if self._backlog is None:
            message = self._ready.remove(position)
            if message is not None:
                self._ready_bytes -= len(message.body)
            return message
        return self._backlog.remove(position)

    def forget(self, message: Message, position: int) -> None:
        """Finish the removal of a message."""
        self._return_counts.pop(position, None)
        if self.log is not None:
            self.log.acknowledge(message, position)
