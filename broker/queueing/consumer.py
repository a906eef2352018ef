"""A consumer of a queue, and the side of its channel that a queue sees."""

from typing import Any

import cython

from broker.queueing.message import Message


class DeliveryTarget:
    """Where a consumer's messages go. The channel of a session implements it."""

    def has_credit(self, no_ack: cython.bint) -> bool:
        """Return whether the channel as a whole can take another message, to be acknowledged unless ``no_ack``."""
        raise NotImplementedError

    def deliver(
        self, consumer: "Consumer", message: Message, position: cython.ulonglong, redelivered: cython.bint
    ) -> int:
        """Send ``message`` to ``consumer``."""
        raise NotImplementedError

    def consumer_cancelled(self, consumer: "Consumer") -> None:
        """Take notice that the queue of ``consumer`` has gone."""
        raise NotImplementedError


class Consumer:
    """One basic.consume: who gets messages of ``queue``, and how many of them unacknowledged at a time.

    ``prefetch_count`` is the limit of unacknowledged messages of this consumer, 0 for none; it does not count
    where ``no_ack`` is set, because nothing is ever unacknowledged then.
    """

    def __init__(
        self,
        target: DeliveryTarget,
        queue: Any,
        tag: str,
        *,
        no_ack: bool,
        exclusive: bool,
        prefetch_count: int,
        arguments: dict[str, Any],
    ) -> None:
        self.target = target
        self.queue = queue
        self.tag = tag
        encoded = tag.encode("utf-8", "surrogateescape")
        self.wire_tag = bytes((len(encoded),)) + encoded
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.prefetch_count = prefetch_count
        self.arguments = arguments
        self.priority = arguments.get("x-priority", 0)
        self.unacked_count = 0
        self.cancelled = False
        self.passed_over = False

    def can_take(self) -> bool:
        """Return whether a message may be delivered to this consumer now."""
        if not self.no_ack and self.prefetch_count and self.unacked_count >= self.prefetch_count:
            return False
        return self.target.has_credit(self.no_ack)
