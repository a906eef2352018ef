"""The interceptors that installed distributions offer, and how they are called."""

from __future__ import annotations

from typing import Any

from broker import extensions
from broker.hooks.interceptor import Delivery, Interceptor, Publication, Refused
from broker.logs import get_logger
from broker.queueing.consumer import Consumer
from broker.queueing.message import BODY_SIZE_MAX_BYTES, Message
from broker.queueing.queue import Queue
from broker.routing.address import decode_address, encode_address
from protocol.amqp.errors import AMQPError, ChannelException, access_refused, precondition_failed
from protocol.amqp.methods import BasicDeliver, BasicGet, BasicPublish
from protocol.amqp.spec import MethodIds

log = get_logger("hooks")

INTERNAL_ERROR = 541
FRAME_OVERHEAD_BYTES = 8

PUBLISHING: dict[str, Interceptor] = {}
DELIVERING: dict[str, Interceptor] = {}
"""The interceptors by name, in the order in which they are called: those that override the method in question."""


def load_extensions() -> None:
    """Make the interceptors of installed distributions; raises ``broker.extensions.ExtensionError``."""
    PUBLISHING.clear()
    DELIVERING.clear()
    for extension in extensions.find_extensions(extensions.INTERCEPTORS):
        loaded = extension.load_subclass(Interceptor)
        interceptor = extension.make(loaded)
        if loaded.before_publish is not Interceptor.before_publish:
            PUBLISHING[extension.name] = interceptor
        if loaded.before_delivery is not Interceptor.before_delivery:
            DELIVERING[extension.name] = interceptor
        log.info("extension loaded", interceptor=extension.name, distribution=extension.distribution)


def _failure(name: str, method: MethodIds) -> ChannelException:
    return ChannelException(INTERNAL_ERROR, f"interceptor '{name}' failed", method.class_id, method.method_id)


def _whose(channel: Any, address: bytes) -> dict[str, Any]:
    exchange, routing_key = decode_address(address)
    return {
        "exchange": exchange,
        "routing_key": routing_key,
        "vhost": channel.vhost.name,
        "user": channel.connection.user.name,
        "connection_name": channel.connection.name,
        "channel_number": channel.number,
    }


def intercept_publish(channel: Any, message: Message, mandatory: bool) -> tuple[bytes, bytes, bytes] | None:
    """Return address, header and body of what is to be published in place of a message, or None for nothing.

    Raises ``ChannelException`` where an interceptor refuses or fails.
    """
    publication: Publication | None
    publication = Publication(message.header, message.body, **_whose(channel, message.address))
    publication.mandatory = mandatory
    for name, interceptor in PUBLISHING.items():
        try:
            publication = interceptor.before_publish(publication)
            if publication is None:
                return None
            address = encode_address(publication.exchange, publication.routing_key)
            header = _fitting_header(publication, channel)
        except Refused as refusal:
            text, refuse = str(refusal), {403: access_refused, 406: precondition_failed}[refusal.reply_code]
            raise refuse(text, 60, 40) from None
        except Exception:
            # Foreign code, which can fail in any way. Its client learns of it, and nobody else does.
            log.exception("interceptor failed", interceptor=name, connection=channel.connection.name)
            raise _failure(name, BasicPublish) from None
    return address, header, publication.body


def intercept_delivery(
    channel: Any, queue: Queue, consumer: Consumer | None, message: Message, redelivered: bool
) -> Message:
    """Return what a client is to see of a message; raises ``ChannelException`` where an interceptor fails."""
    header, body = message.header, message.body
    delivery = Delivery(header, body, **_whose(channel, message.address))
    delivery.queue = queue.name
    delivery.consumer_tag = None if consumer is None else consumer.tag
    delivery.redelivered = redelivered
    for name, interceptor in DELIVERING.items():
        try:
            interceptor.before_delivery(delivery)
            header, body = _fitting_header(delivery, channel), delivery.body
        except Exception:
            # As above; the exception would otherwise come out where somebody else publishes.
            log.exception("interceptor failed", interceptor=name, connection=channel.connection.name)
            raise _failure(name, BasicGet if consumer is None else BasicDeliver) from None
    return Message(message.address, header, body, message.persistent)


def _fitting_header(intercepted: Publication | Delivery, channel: Any) -> bytes:
    """Return the header; raises ``ValueError`` for what a channel cannot carry."""
    header = intercepted.header()
    if len(header) > channel.connection.frame_max - FRAME_OVERHEAD_BYTES:
        raise ValueError(f"a header of {len(header)} octets does not fit into a frame")
    if len(intercepted.body) > BODY_SIZE_MAX_BYTES:
        raise ValueError(f"a body of {len(intercepted.body)} octets is too large")
    return header


def close_for(channel: Any, error: AMQPError) -> None:
    """Close a channel for an error that came up outside of its own work, unless it has gone meanwhile."""
    if channel.is_open:
        channel.connection.close_channel(channel.number, error)
