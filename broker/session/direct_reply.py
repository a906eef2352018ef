"""Direct reply-to: answers that reach the channel which asked, without a queue that anyone has to declare.

A channel consumes ``amq.rabbitmq.reply-to`` and publishes with that as reply-to; who gets the message finds in its
place a name that leads back to the channel. The name is a secret of the two: it cannot be guessed, only found in a
message, and ends with the consumer.
"""

from __future__ import annotations

import secrets
from typing import Any

from broker.queueing.consumer import Consumer
from broker.queueing.queue import Queue
from broker.queueing.settings import QueueSettings
from protocol.amqp.errors import access_refused, precondition_failed

PSEUDO_QUEUE = "amq.rabbitmq.reply-to"
PREFIX = "amq.rabbitmq.reply-to."
REPLIES_WAITING_MAX = 10_000
"""How many answers wait for a channel that does not read; beyond that the oldest are dropped."""

_TOKEN_SIZE_BYTES = 24
_SETTINGS = QueueSettings(max_length=REPLIES_WAITING_MAX)


def consume(channel: Any, tag: str, *, no_ack: bool) -> Consumer:
    """Make the reply consumer of a channel; the caller starts it. RabbitMQ's words where it cannot be.

    What arguments a client has given for it has no effect, as in RabbitMQ, and so it is not looked at.
    """
    if not no_ack:
        raise precondition_failed("reply consumer cannot acknowledge")
    if channel.reply_queue is not None:
        raise precondition_failed("reply consumer already set")
    vhost = channel.vhost
    queue = Queue(
        PREFIX + secrets.token_urlsafe(_TOKEN_SIZE_BYTES),
        durable=False,
        auto_delete=True,
        exclusive_owner=channel.connection,
        arguments={},
        log=None,
        turn=vhost.turn,
        host=vhost,
        settings=_SETTINGS,
    )
    vhost.add_reply_queue(queue)
    channel.set_reply_queue(queue)
    return Consumer(channel, queue, tag, no_ack=True, exclusive=True, prefetch_count=0, arguments={})


def reply_name(channel: Any) -> bytes:
    """Return what takes the place of the pseudo-queue in the reply-to of a message that a channel publishes."""
    queue = channel.reply_queue
    if queue is None:
        raise precondition_failed("fast reply consumer does not exist")
    return queue.name.encode()  # type: ignore[no-any-return]


def refuse_binding(queue_name: str) -> None:
    """Refuse to bind or unbind the queue of a reply consumer."""
    if queue_name.startswith(PREFIX):
        raise access_refused("cannot bind or unbind to a volatile (direct reply-to) queue")
