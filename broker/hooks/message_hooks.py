"""What happens to the messages of a virtual host where somebody wants to see them."""

from __future__ import annotations

from functools import partial
from typing import Any

from broker.hooks import interceptors
from broker.hooks.firehose import TRACE_EXCHANGE, Firehose
from broker.hooks.internal_publish import PERSISTENT
from broker.hooks.taps import Taps
from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.routing.exchange import Exchange
from broker.routing.route import Route
from protocol.amqp import content_header
from protocol.amqp.errors import AMQPError

PUBLISH_MANDATORY = 1


class MessageHooks:
    """The firehose of a virtual host and the interceptors, hung into ``taps`` while they are needed.

    The firehose is not, even if it is on, while nothing is bound to its exchange.
    """

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

    def bindings_changed(self, source: Exchange) -> None:
        """Take notice that a binding out of an exchange has come or gone."""
        if source.name == TRACE_EXCHANGE:
            self._hang_in()

    def _hang_in(self) -> None:
        self._heard = self._firehose if self._firehose is not None and self._firehose.is_heard else None
        tracing = self._heard is not None
        self._taps.publishing = self if tracing or interceptors.PUBLISHING else None
        self._taps.delivering = self if tracing or interceptors.DELIVERING else None

    # Publishing

    def publish(self, channel: Any, route: Route, message: Message, flags: int) -> None:
        """Do what a channel does with a publish, and what else is wanted."""
        if interceptors.PUBLISHING:
            intercepted = interceptors.intercept_publish(channel, message, bool(flags & PUBLISH_MANDATORY))
            if intercepted is None:
                if channel.transaction is None:
                    channel.drop()
                return
            address, header, body = intercepted
            if len(body) > max(channel.max_message_size_bytes, len(message.body)):
                raise channel.too_large(len(body))
            traits = message.traits
            if header != message.header:
                header, traits = channel.accept_header(header)
            if address != message.address:
                route = channel.find_route(address)
            message = Message(address, header, body, content_header.delivery_mode(header) == PERSISTENT, traits)
        if channel.transaction is not None:
            channel.transaction.publish(route, message, flags)
            return
        final = channel.final_route(route, message)
        self.routed(channel, final, message)
        channel.put_message(final, message, flags)

    def routed(self, channel: Any, route: Route, message: Message) -> None:
        """Take notice of where a message goes, just before it gets there."""
        if self._heard is not None:
            self._heard.published(channel, message, route.queues)

    # Delivering

    def shown(
        self,
        channel: Any,
        queue: Queue,
        consumer: Consumer | None,
        message: Message,
        redelivered: bool,
    ) -> Message | None:
        """Return what a client gets to see of a message; None if it gets nothing, and its channel is to be closed.

        ``message`` is what it would have got. Without a consumer it is basic.get that asks.
        """
        if not interceptors.DELIVERING:
            return message
        try:
            return interceptors.intercept_delivery(channel, queue, consumer, message, redelivered)
        except AMQPError as error:
            if channel.accepts_deliveries:
                # Not now: it may be anybody's publish that has brought the message here.
                channel.accepts_deliveries = False
                self._vhost.turn.want_step(partial(interceptors.close_for, channel, error))
            return None

    def delivered(self, channel: Any, queue: Queue, message: Message, redelivered: bool) -> None:
        """Take notice of a message that was sent."""
        if self._heard is not None:
            self._heard.delivered(channel, queue, message, redelivered)
