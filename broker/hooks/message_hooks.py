"""What happens to the messages of a virtual host where somebody wants to see them."""

from __future__ import annotations

from typing import Any

from broker.hooks.firehose import Firehose
from broker.hooks.taps import Taps
from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.routing.route import Route


class MessageHooks:
    """The firehose of a virtual host, hung into ``taps`` while it is needed."""

    def __init__(self, vhost: Any, taps: Taps) -> None:
        self._vhost = vhost
        self._taps = taps
        self._firehose: Firehose | None = None
        self._hang_in()

    @property
    def tracing(self) -> bool:
        """Whether the firehose is on."""
        return self._firehose is not None

    def set_tracing(self, on: bool) -> None:
        """Switch the firehose on or off, for the channels that are open as well."""
        self._firehose = Firehose(self._vhost) if on else None
        self._hang_in()

    def _hang_in(self) -> None:
        wanted = self._firehose is not None
        self._taps.publishing = self if wanted else None
        self._taps.delivering = self if wanted else None

    # Publishing

    def publish(self, channel: Any, route: Route, message: Message, flags: int) -> None:
        """Do what a channel does with a publish, and what else is wanted."""
        if channel.transaction is not None:
            channel.transaction.publish(route, message, flags)
            return
        final = channel.final_route(route, message)
        self.routed(channel, final, message)
        channel.put_message(final, message, flags)

    def routed(self, channel: Any, route: Route, message: Message) -> None:
        """Take notice of where a message goes, just before it gets there."""
        if self._firehose is not None:
            self._firehose.published(channel, message, route.queues)

    # Delivering

    def shown(
        self,
        channel: Any,  # noqa: ARG002
        queue: Queue,  # noqa: ARG002
        consumer: Consumer | None,  # noqa: ARG002
        message: Message,
        redelivered: bool,  # noqa: ARG002
    ) -> Message | None:
        """Return what a client gets to see of a message; None if it gets nothing, and its channel is to be closed.

        ``message`` is what it would have got. Without a consumer it is basic.get that asks.
        """
        return message

    def delivered(self, channel: Any, queue: Queue, message: Message, redelivered: bool) -> None:
        """Take notice of a message that was sent."""
        if self._firehose is not None:
            self._firehose.delivered(channel, queue, message, redelivered)
