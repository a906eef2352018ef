"""What a redelivered message tells its consumer beside what its publisher said."""

from __future__ import annotations

from broker.queueing.message import Message
from broker.queueing.queue import Queue
from protocol.amqp.header_fields import replace_fields, split_fields

DELIVERY_COUNT_HEADER = b"x-delivery-count"


def counted_header(queue: Queue, message: Message, position: int) -> bytes:
    """Return the header of a redelivered message, with ``x-delivery-count`` where its queue counts deliveries.

    It says how often the message has come back, as with RabbitMQ's quorum queues.
    """
    count = queue.delivery_count(position)
    if not count:
        return message.header
    fields = split_fields(message.header)
    fields[DELIVERY_COUNT_HEADER] = b"l" + count.to_bytes(8, "big")
    return replace_fields(message.header, fields)
