"""A consumer inside of the broker: what a queue delivers to it goes on elsewhere."""

from collections.abc import Callable
from typing import Any

import cython

from broker.queueing.consumer import Consumer, DeliveryTarget
from broker.queueing.message import Message


class Relay(DeliveryTarget):
    """Calls ``forward(queue, message, position)`` for each message; it always has room for another one.

    Whoever is called has ``queue.finish`` to call in the end.
    """

    def __init__(self, forward: Callable[[Any, Message, int], None]) -> None:
        self._forward = forward

    def has_credit(self, no_ack: cython.bint) -> bool:  # noqa: ARG002
        """See ``DeliveryTarget``."""
        return True

    def deliver(
        self,
        consumer: Consumer,
        message: Message,
        position: cython.ulonglong,
        redelivered: cython.bint,  # noqa: ARG002
    ) -> int:
        """See ``DeliveryTarget``."""
        self._forward(consumer.queue, message, position)
        return 0

    def consumer_cancelled(self, consumer: Consumer) -> None:
        """See ``DeliveryTarget``."""
