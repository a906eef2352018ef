"""A transaction of a channel (class tx): publishes and settlements that happen together, or not at all."""

from __future__ import annotations

from typing import Any

from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.routing.route import Route
from protocol.amqp.errors import precondition_failed


class Transaction:
    """What a channel has gathered since tx.select, the last commit or the last rollback.

    On commit it all becomes one unit of the journal: after a crash there is all of it, or nothing.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._publishes: list[tuple[Route, Message, int]] = []
        self._settlements: list[tuple[int, Message, int, Queue, Consumer | None, int]] = []
        self.was_rejected = False

    def publish(self, route: Route, message: Message, flags: int) -> None:
        """Publish a message at the commit."""
        self._publishes.append((route, message, flags))

    def settle(self, delivery_tag: int, multiple: bool, how: int) -> None:
        """Settle deliveries at the commit. They are taken out of the channel's unacknowledged ones now."""
        unacked = self._channel.unacked
        if multiple:
            tags = [tag for tag in unacked.tags() if tag <= delivery_tag]
        else:
            tags = [delivery_tag]
        for tag in tags:
            message = unacked.pop(tag)
            self._settlements.append((tag, message, unacked.position, unacked.queue, unacked.consumer, how))

    def held_messages(self) -> list[tuple[Message, int, Queue]]:
        """Return the deliveries that are settled at the commit, as (message, position, queue)."""
        return [(message, position, queue) for _, message, position, queue, _, _ in self._settlements]

    def commit(self) -> int:
        """Do it all. Returns the batch of the journal that makes it durable.

        Raises ``ChannelException`` (PRECONDITION_FAILED) when a full queue has refused a publish; the rest is done.
        """
        channel = self._channel
        # Whatever can be refused is refused before anything is done: an exchange may have gone since the publish.
        publishes = [(channel.final_route(route, message), message, flags) for route, message, flags in self._publishes]
        settlements = self._settlements
        self._publishes, self._settlements = [], []
        queues: dict[Queue, None] = {}
        taps = channel.vhost.taps.publishing
        channel.vhost.journal.begin_unit()
        try:
            for route, message, flags in publishes:
                if taps is not None:
                    taps.routed(channel, route, message)
                channel.put_message(route, message, flags)
            for _, message, position, queue, consumer, how in settlements:
                queues[channel.settle_taken(message, position, queue, consumer, how)] = None
        finally:
            # A unit that never ended would keep whatever anybody does after it from the disk.
            batch: int = channel.vhost.journal.end_unit()
        for queue in queues:
            queue.wake()
        if self.was_rejected:
            raise precondition_failed("partial tx completion")
        return batch

    def rollback(self) -> None:
        """Forget the publishes, and make the settled deliveries unacknowledged again."""
        unacked = self._channel.unacked
        self._publishes = []
        held = [
            (tag, message, position, queue, consumer)
            for tag, message, position, queue, consumer, _ in self._settlements
        ]
        self._settlements = []
        for tag in unacked.tags():
            message = unacked.pop(tag)
            held.append((tag, message, unacked.position, unacked.queue, unacked.consumer))
        for entry in sorted(held, key=lambda entry: entry[0]):
            unacked.push(*entry)
