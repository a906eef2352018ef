"""The firehose: a copy of each message that is published or delivered in a virtual host, for debugging.

As in RabbitMQ (rabbit_trace), the copies go to a topic exchange, with routing keys that say what happened where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from broker.dead_lettering.deaths import routing_keys_of
from broker.hooks.internal_publish import encode_header, present_properties, publish
from broker.hooks.node import NODE
from broker.queueing.message import Message
from broker.routing.address import decode_address
from broker.routing.exchange import Queue
from protocol.amqp.header_fields import TRAIT_HIDDEN, visible
from protocol.amqp.properties import BasicProperties, decode_properties

TRACE_EXCHANGE = "amq.rabbitmq.trace"

# So many queues and routing keys are told of one message.
NAMES_MAX = 200


class Firehose:
    """Tells of the messages of one virtual host. What the firehose itself has published is not told of again."""

    def __init__(self, vhost: Any) -> None:
        self._vhost = vhost
        self._exchange = vhost.exchanges[TRACE_EXCHANGE]

    @property
    def is_heard(self) -> bool:
        """Whether anything is bound to the exchange."""
        return bool(self._exchange.bindings)

    def published(self, channel: Any, message: Message, queues: Sequence[Queue]) -> None:
        """Tell of a message that is about to get into ``queues``."""
        names = [queue.name for queue in queues[:NAMES_MAX]]
        exchange = decode_address(message.address)[0]
        self._tell(f"publish.{exchange}", channel, message, {"routed_queues": names})

    def delivered(self, channel: Any, queue: Queue, message: Message, redelivered: bool) -> None:
        """Tell of a message that has been sent to a client."""
        self._tell(f"deliver.{queue.name}", channel, message, {"redelivered": int(redelivered)})

    def _tell(self, routing_key: str, channel: Any, message: Message, extra: dict[str, Any]) -> None:
        exchange = decode_address(message.address)[0]
        if exchange == TRACE_EXCHANGE:
            return
        properties = decode_properties(visible(message.header) if message.traits & TRAIT_HIDDEN else message.header)
        headers = {
            "exchange_name": exchange,
            "routing_keys": routing_keys_of(message)[:NAMES_MAX],
            "properties": present_properties(properties),
            "node": NODE,
            "vhost": self._vhost.name,
            "connection": channel.connection.name,
            "channel": channel.number,
            "user": channel.connection.user.name,
            **extra,
        }
        size = len(message.body)
        try:
            header = encode_header(BasicProperties(headers=headers), size)
        except ValueError:
            # Too large, or tables in tables deeper than tables go.
            headers["properties"] = present_properties(replace(properties, headers=None))
            header = encode_header(BasicProperties(headers=headers), size)
        publish(self._vhost, TRACE_EXCHANGE, routing_key, header, message.body, persistent=False)
