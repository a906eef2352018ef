"""What a client gets to see of a message: all that its publisher said, a count, and nothing of the broker's own."""

from __future__ import annotations

from broker.queueing.message import Message
from broker.queueing.queue import Queue
from protocol.amqp.field_table import Longlong, encode_value
from protocol.amqp.header_fields import TRAIT_HIDDEN, replace_fields, split_fields, visible

DELIVERY_COUNT_HEADER = b"x-delivery-count"


def as_delivered(queue: Queue, message: Message, position: int) -> Message:
    """Return a message as a consumer gets it.

    Where its queue counts deliveries, ``x-delivery-count`` says how often it has come back, as with RabbitMQ's quorum
    queues.
    """
    count = queue.delivery_count(position)
    if not count:
        return as_returned(message)
    fields = split_fields(message.header)
    fields[DELIVERY_COUNT_HEADER] = encode_value(Longlong(count))
    return as_returned(_with_header(message, replace_fields(message.header, fields)))


def as_returned(message: Message) -> Message:
    """Return a message as its publisher gets it back."""
    return _with_header(message, visible(message.header)) if message.traits & TRAIT_HIDDEN else message


def _with_header(message: Message, header: bytes) -> Message:
    return Message(message.address, header, message.body, message.persistent, message.traits)
