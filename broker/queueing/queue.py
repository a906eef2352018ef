"""The queue: what is ready, who consumes, and how one meets the other."""

from typing import Any

import cython

from broker.durability.queue_log import QueueLog
from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
from broker.queueing.ready import ReadyMessages

# How many messages one call of wake() hands over, so that a long backlog does not hold up the event loop.
WAKE_COUNT_MAX = 2048


class Queue:
    """A queue of one virtual host.

    Messages have positions: numbers that grow by one with each message of the queue. A message that comes back is
    again where its position says. ``log`` is the queue's side of the journal, None for a queue that does not
    survive its broker.

    While a message is ready, no consumer has credit (it is then *starved*), or the queue waits in the turn for
    going on: so a message that finds the queue empty can go straight to a consumer.
    """

    def __init__(
        self,
        name: str,
        *,
        durable: bool,
        auto_delete: bool,
        exclusive_owner: Any,
        arguments: dict[str, Any],
        log: QueueLog | None,
        turn: Any,
    ) -> None:
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.exclusive_owner = exclusive_owner
        self.arguments = arguments
        self.log = log
        self.consumers: list[Consumer] = []
        self.deleted = False
        self.ready_bytes = 0
        self.unacked_count = 0
        self.turn = turn
        self._ready = ReadyMessages()
        self._consumer_turn = 0
        self._starved = True
        self._next_position = 1

    def ready_count(self) -> int:
        """Return how many messages wait for a consumer."""
        return self._ready.length()

    def next_position(self) -> int:
        """Give out the position of the next message."""
        position: cython.ulonglong = self._next_position
        self._next_position = position + 1
        return position

    def enqueue(self, message: Message, position: cython.ulonglong, redelivered: cython.bint) -> int:
        """Take a message in: to a consumer at once if one has credit, else behind all others."""
        if not self._starved and self._ready.length() == 0:
            consumer = self._consumer_with_credit()
            if consumer is not None:
                return self._hand_over(consumer, message, position, redelivered)
        self._ready.append(message, position, redelivered)
        self.ready_bytes += len(message.body)
        return 0

    def wake(self) -> int:
        """Go on delivering, because a consumer has got credit."""
        self._starved = False
        count: cython.int = 0
        while self._ready.length():
            if count == WAKE_COUNT_MAX:
                self.turn.wake_later(self)
                return 0
            consumer = self._consumer_with_credit()
            if consumer is None:
                return 0
            message: Message = cython.cast(Message, self._ready.take_first())
            self.ready_bytes -= len(message.body)
            self._hand_over(consumer, message, self._ready.taken_position, self._ready.taken_redelivered)
            count += 1
        return 0

    def _consumer_with_credit(self) -> Consumer | None:
        """Return the next consumer in turn that can take a message; without one the queue is starved."""
        count: cython.Py_ssize_t = len(self.consumers)
        index: cython.Py_ssize_t
        consumer: Consumer
        for _ in range(count):
            index = self._consumer_turn
            if index >= count:
                index = 0
            self._consumer_turn = index + 1
            consumer = self.consumers[index]
            if consumer.can_take():
                return consumer
        self._starved = True
        return None

    def _hand_over(
        self, consumer: Consumer, message: Message, position: cython.ulonglong, redelivered: cython.bint
    ) -> int:
        if consumer.no_ack:
            if self.log is not None:
                self.log.acknowledge(message, position)
        else:
            self.unacked_count += 1
            consumer.unacked_count += 1
            if self.log is not None:
                self.log.mark_delivered(message, position)
        return consumer.target.deliver(consumer, message, position, redelivered)

    def take(self, no_ack: cython.bint) -> Message | None:
        """Take the first message for basic.get, or None; ``taken_position`` and ``taken_redelivered`` say the rest."""
        message = self._ready.take_first()
        if message is None:
            return None
        self.ready_bytes -= len(message.body)
        self.taken_position = self._ready.taken_position
        self.taken_redelivered = self._ready.taken_redelivered
        if no_ack:
            if self.log is not None:
                self.log.acknowledge(message, self.taken_position)
        else:
            self.unacked_count += 1
            if self.log is not None:
                self.log.mark_delivered(message, self.taken_position)
        return message

    def settle(self, message: Message, position: cython.ulonglong) -> int:
        """Forget an unacknowledged message: it was acknowledged, or rejected for good."""
        self.unacked_count -= 1
        if self.log is not None:
            self.log.acknowledge(message, position)
        return 0

    def requeue(self, message: Message, position: cython.ulonglong) -> int:
        """Put an unacknowledged message back to where it was. The caller wakes the queue when it has put back all."""
        self.unacked_count -= 1
        if self.deleted:
            if self.log is not None:
                self.log.acknowledge(message, position)
            return 0
        self._ready.put_back(message, position, True)
        self.ready_bytes += len(message.body)
        return 0

    def restore(self, message: Message, position: int, redelivered: bool) -> None:
        """Take in a message that recovery found in the journal. They come in the order of their positions."""
        self._ready.append(message, position, redelivered)
        self.ready_bytes += len(message.body)
        if position >= self._next_position:
            self._next_position = position + 1

    def peek_next_position(self) -> int:
        """Return the position that the next message will get."""
        return self._next_position

    def skip_positions(self, next_position: int) -> None:
        """Never give out a position below ``next_position`` (recovery: they have been used)."""
        if next_position > self._next_position:
            self._next_position = next_position

    def purge(self) -> int:
        """Drop all ready messages and return how many there were."""
        count: cython.Py_ssize_t = 0
        while True:
            message = self._ready.take_first()
            if message is None:
                break
            if self.log is not None:
                self.log.acknowledge(message, self._ready.taken_position)
            count += 1
        self.ready_bytes = 0
        return count

    def add_consumer(self, consumer: Consumer) -> None:
        """Add a consumer behind the others. The caller wakes the queue."""
        self.consumers.append(consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """Remove a consumer; what it has not acknowledged stays with its channel."""
        self.consumers.remove(consumer)
