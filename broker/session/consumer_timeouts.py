"""Consumers that sit on a message too long (``x-consumer-timeout``).

As in RabbitMQ 4.3 they are cancelled and what is late goes back to its queue, if the client understands that; if not,
the channel is closed. Other consumers of the channel go on, and a late acknowledgement does no harm.
"""

from __future__ import annotations

from typing import Any

from broker.logs import get_logger
from broker.queueing.consumer import Consumer
from broker.session.names import queue_resource
from protocol.amqp.errors import precondition_failed

log = get_logger("channel")

# How many deliveries of a channel are looked at in one check; the others have their turn in the next one.
LATE_PER_CHECK_MAX = 4096

TIMEOUT_ARGUMENT = "x-consumer-timeout"


def check(connection: Any, *, tick: int, tick_ms: int, default_ms: int) -> None:
    """Cancel the consumers of a connection that hold a delivery longer than allowed.

    ``tick`` is the time in ticks of ``tick_ms``, as deliveries are stamped with it. What is allowed is said by the
    consumer, by its queue, or by ``default_ms``; 0 is no limit.
    """
    for channel in list(connection.channels.values()):
        shortest_ms = channel.vhost.settings.shortest_consumer_timeout_ms(default_ms)
        if not shortest_ms or not channel.is_open or not channel.unacked.count or channel.settling is not None:
            continue
        held_since = tick - shortest_ms // tick_ms
        if held_since > 0:
            _check_channel(connection, channel, held_since, tick, tick_ms, default_ms)


def _check_channel(connection: Any, channel: Any, held_since: int, tick: int, tick_ms: int, default_ms: int) -> None:
    late: dict[Consumer | None, list[int]] = {}
    deliveries = channel.unacked.delivered_before(held_since, LATE_PER_CHECK_MAX)
    for delivery_tag, queue, consumer, delivered_at in deliveries:
        timeout_ms = queue.settings.consumer_timeout_ms
        if consumer is not None:
            timeout_ms = consumer.arguments.get(TIMEOUT_ARGUMENT, timeout_ms)
        if timeout_ms is None:
            timeout_ms = default_ms
        if not timeout_ms or (tick - delivered_at) * tick_ms < timeout_ms:
            continue
        log.warning(
            "consumer timeout",
            connection=connection.name,
            channel=channel.number,
            consumer=consumer.tag if consumer is not None else None,
            queue=queue_resource(channel, queue.name),
            delivery_tag=delivery_tag,
            timeout_ms=timeout_ms,
        )
        if consumer is None or not channel.connection.tells_cancellations():
            connection.close_channel(
                channel.number,
                precondition_failed(
                    f"delivery acknowledgement on channel {channel.number} timed out. "
                    f"Timeout value used: {timeout_ms} ms. "
                    "This timeout value can be configured, see consumers doc guide to learn more"
                ),
            )
            return
        late.setdefault(consumer, []).append(delivery_tag)
    for consumer, delivery_tags in late.items():
        channel.cancel_late(consumer, delivery_tags)
