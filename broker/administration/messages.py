"""Looking at the messages of a queue, deleting and moving them, and sending dead letters back to where they died."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from broker.administration.selection import CHOSEN_MAX, SCANNED_MAX, Chosen, Filter, choose, paged_positions
from broker.dead_lettering.deaths import KEYS_FIELD, ORIGIN_FIELD, decode_deaths, origin_of, routing_keys_of
from broker.publishing import publish_to_queues
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.routing.address import decode_address, encode_address
from protocol.amqp.header_fields import find_traits, replace_fields, split_fields, visible
from protocol.amqp.properties import BasicProperties, decode_properties

_DEATH_FIELDS = frozenset(
    {b"x-death", KEYS_FIELD, ORIGIN_FIELD}
    | {f"x-{when}-death-{what}".encode() for when in ("first", "last") for what in ("reason", "queue", "exchange")}
)


@dataclass(frozen=True, slots=True)
class Peeked:
    """A message as it stands in a queue.

    ``published_at_ms`` is only known where the queue or the message has to do with time, otherwise 0.
    """

    position: int
    exchange: str
    routing_key: str
    properties: BasicProperties
    body: bytes
    persistent: bool
    redelivered: bool
    delivery_count: int
    published_at_ms: int
    not_before_ms: int


def find_any_queue(vhost: Any, name: str) -> Queue:
    """Return a queue, or the store of a delayed message exchange; raises ``ChannelException`` (NOT_FOUND)."""
    store: Queue | None = next((queue for queue in vhost.delays.stores.values() if queue.name == name), None)
    queue: Queue = vhost.find_queue(name) if store is None else store
    return queue


async def peek(
    vhost: Any,
    queue_name: str,
    *,
    from_position: int = 0,
    count_max: int = 100,
    matching: Filter | None = None,
    waiting: bool = False,
) -> tuple[list[Peeked], int | None]:
    """Return messages without disturbing them, and the position to go on from, None at the end of the queue."""
    queue = find_any_queue(vhost, queue_name)
    looked_at_max = min(count_max, CHOSEN_MAX) if matching is None else SCANNED_MAX
    paged = paged_positions(queue, from_position, looked_at_max, waiting=waiting)
    async with vhost.pager.brought_in(queue, paged):
        chosen, following = choose(
            queue, from_position=from_position, count_max=count_max, matching=matching, waiting=waiting
        )
    return [_peeked(queue, one) for one in chosen], following


def _peeked(queue: Queue, chosen: Chosen) -> Peeked:
    message = chosen.message
    exchange, routing_key = decode_address(message.address)
    return Peeked(
        position=chosen.position,
        exchange=exchange,
        routing_key=routing_key,
        properties=decode_properties(visible(message.header)) if message.traits else chosen.properties,
        body=message.body,
        persistent=message.persistent,
        redelivered=chosen.redelivered,
        delivery_count=queue.delivery_count(chosen.position),
        published_at_ms=message.published_at_ms,
        not_before_ms=chosen.not_before_ms,
    )


def delete(vhost: Any, queue_name: str, positions: Sequence[int]) -> int:
    """Delete the messages at these positions, ready or waiting: cancel them. Returns how many there were.

    Raises ``ValueError`` for more positions than one call takes.
    """
    queue = find_any_queue(vhost, queue_name)
    count = 0
    for position in _checked(positions):
        message = queue.remove(position)
        if message is not None:
            queue.forget(message, position)
            count += 1
    queue.wake()
    return count


async def move(
    vhost: Any, queue_name: str, positions: Sequence[int], *, exchange: str = "", routing_key: str | None = None
) -> int:
    """Publish the messages at these positions to an exchange and take them out of their queue, all or none.

    Without a routing key they keep theirs. What no queue takes stays where it is. Returns how many have moved. Raises
    ``ChannelException`` (NOT_FOUND) for an unknown exchange, ``ValueError`` for too many positions or a bad name.
    """
    queue = find_any_queue(vhost, queue_name)
    target = vhost.find_exchange(exchange)

    def publish(message: Message) -> bool:
        keys = routing_keys_of(message) if routing_key is None else [routing_key]
        moved = _copy(message, encode_address(exchange, keys[0]), message.header)
        return _publish(vhost, vhost.find_queues(target, keys, moved), moved)

    async with vhost.pager.brought_in(queue, _checked(positions)):
        return _transfer(vhost, queue, positions, publish)


async def redrive(vhost: Any, queue_name: str, positions: Sequence[int]) -> int:
    """Send dead letters back into the queues where they died last, as they were before, all or none.

    Exchange, routing key and the headers are again those of the publish. What did not die, or whose queue is gone,
    stays where it is. Returns how many have gone back. Raises ``ValueError`` for too many positions.
    """
    queue = find_any_queue(vhost, queue_name)

    def publish(message: Message) -> bool:
        fields = split_fields(message.header)
        deaths = decode_deaths(fields)
        origin = vhost.queues.get(deaths[0].queue) if deaths else None
        if origin is None or origin is queue:
            return False
        address = encode_address(*origin_of(fields))
        kept = {name: raw for name, raw in fields.items() if name not in _DEATH_FIELDS}
        redriven = _copy(message, address, replace_fields(message.header, kept))
        return _publish(vhost, [origin], redriven, was_in=[origin.name])

    async with vhost.pager.brought_in(queue, _checked(positions)):
        return _transfer(vhost, queue, positions, publish)


def _checked(positions: Sequence[int]) -> Sequence[int]:
    if len(positions) > CHOSEN_MAX:
        raise ValueError(f"{len(positions)} positions; at most {CHOSEN_MAX} can be given at a time")
    return positions


def _copy(message: Message, address: bytes, header: bytes) -> Message:
    return Message(address, header, message.body, message.persistent, find_traits(header))


def _publish(vhost: Any, queues: Sequence[Queue], message: Message, *, was_in: Sequence[str] = ()) -> bool:
    published = publish_to_queues(vhost, queues, message, was_in=was_in, moved=True)
    return published.queue_count > 0


def _transfer(vhost: Any, queue: Queue, positions: Sequence[int], publish: Any) -> int:
    count = 0
    vhost.journal.begin_unit()
    try:
        for position in _checked(positions):
            # Taken out first: the queue may be one of those that it goes to.
            entry = queue.take_out(position)
            if entry is None:
                continue
            if isinstance(entry[1], Message) and publish(entry[1]):
                queue.forget(entry[1], position)
                count += 1
            else:
                queue.put_in(*entry)
                queue.ask_for_timer()
    finally:
        vhost.journal.end_unit()
    queue.wake()
    return count
