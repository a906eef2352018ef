"""The queues in which delayed message exchanges hold back what is not yet to be routed."""

from __future__ import annotations

from typing import Any

from broker.durability.definitions import QueueDeleted, encode
from broker.durability.queue_log import QueueLog
from broker.durability.vhost_state import queue_definition
from broker.queueing.arguments import OWN_PREFIX
from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.queueing.relay import Relay
from broker.queueing.schedule import DELAY_HEADER, requested_delay_ms
from broker.routing.delayed_message import DelayedMessageExchangeType
from broker.routing.exchange import Exchange
from protocol.amqp.field_table import Longlong, encode_value
from protocol.amqp.header_fields import find_traits, replace_fields, split_fields

STORE_PREFIX = "amq.delayed."
STORE_ARGUMENT = f"{OWN_PREFIX}store"


class DelayedExchanges:
    """The stores of a virtual host, by the names of their exchanges.

    A store is a queue with ``x-delayed`` that no client can reach; it is as durable as its exchange. Its messages can
    be listed and removed like those of any queue.
    """

    def __init__(self, vhost: Any) -> None:
        self._vhost = vhost
        self.stores: dict[str, Queue] = {}

    def declared(self, exchange: Exchange) -> None:
        """Give a new exchange its store, if it is of that type. Writes it down if the exchange is durable."""
        if not isinstance(exchange.type, DelayedMessageExchangeType) or exchange.name in self.stores:
            return
        vhost = self._vhost
        log = QueueLog(vhost.journal, vhost.new_queue_number()) if exchange.durable else None
        queue = vhost.add_queue(
            STORE_PREFIX + exchange.name,
            durable=exchange.durable,
            auto_delete=False,
            owner=None,
            arguments={"x-delayed": True, STORE_ARGUMENT: exchange.name},
            log=log,
        )
        if log is not None:
            vhost.journal.define(encode(queue_definition(queue)))

    def adopt(self, queue: Queue) -> bool:
        """Take in a queue that has just been made, if it is a store. Returns whether it is."""
        name = queue.arguments.get(STORE_ARGUMENT)
        exchange = self._vhost.exchanges.get(name)
        if exchange is None or not isinstance(exchange.type, DelayedMessageExchangeType):
            return False
        self.stores[exchange.name] = queue
        exchange.type.store = queue
        relay = Consumer(Relay(self._forward), queue, "", no_ack=False, exclusive=True, prefetch_count=0, arguments={})
        queue.add_consumer(relay)
        queue.wake()
        return True

    def _forward(self, queue: Queue, message: Message, position: int) -> None:
        self._vhost.transfers.release(queue, message, position)

    def deleted(self, exchange: Exchange) -> None:
        """Take away the store of an exchange that has been deleted, with all that it held back."""
        queue = self.stores.pop(exchange.name, None)
        if queue is not None:
            queue.deleted = True
            self._vhost.journal.holders.pop(queue.page_number, None)
            if queue.log is not None:
                self._vhost.journal.define(encode(QueueDeleted(queue.name, queue.log.number)))
                queue.log.drop()
            queue.purge()

    def release(self, queue: Queue, message: Message) -> tuple[Exchange, Message] | None:
        """Return the exchange that a due message was held back for, and the message as it goes on."""
        exchange = self._vhost.exchanges.get(queue.arguments[STORE_ARGUMENT])
        if exchange is None or exchange.type.store is not queue:
            return None
        fields = split_fields(message.header)
        delay_ms = requested_delay_ms(message)
        if DELAY_HEADER in fields and delay_ms:
            # As RabbitMQ's plugin marks what it has delayed already.
            fields[DELAY_HEADER] = encode_value(Longlong(-delay_ms))
        header = replace_fields(message.header, fields)
        released = Message(message.address, header, message.body, message.persistent, find_traits(header))
        return exchange, released
