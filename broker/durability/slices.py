"""The snapshot for a checkpoint, taken in slices between which the virtual host goes on changing.

It need not be the state at any one time. Everything in it is as it was at some time since the snapshot was begun, and
all definitions written since then are replayed over it. Each of those says what its exchange, queue, binding, policy
or key is from then on, or that it is gone, whatever was there before. So what has changed since the beginning is as
its last definition says, and the rest is as the snapshot says. ``broker.durability.replay`` relies on the same.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any

from broker.durability.definitions import (
    AnyDefinition,
    Bound,
    PolicyPut,
    SeenKeys,
    encode,
    encode_array_head,
    encode_snapshot_head,
)
from broker.durability.vhost_state import binding_definition, exchange_definition, is_durable, queue_definition
from broker.queueing.deduplication import Deduplicator
from broker.queueing.queue import Queue
from broker.routing.exchange import Exchange

RESERVED_PREFIX = "amq."

DEFINITIONS_PER_SLICE = 128
"""So many definitions are looked at before the event loop has its turn again."""

BYTES_PER_SLICE = 128 << 10
"""The same in bytes, as some definitions have long arguments."""

KEYS_PER_RECORD = 128
"""So many keys of deduplication count as one definition."""


def snapshot_in_slices(vhost: Any) -> Generator[None, None, list[bytes]]:
    """Encode everything that a virtual host keeps beside messages. Each ``next`` is a slice, the result the pieces."""
    exchanges = list(vhost.exchanges.values())
    queues = vhost.all_queues()
    definitions, definition_count = yield from _encode_each(_definitions(vhost, exchanges, queues))
    seen, seen_count = yield from _encode_each(_seen(exchanges, queues))
    head = encode_snapshot_head(vhost.next_queue_number)
    return [head, encode_array_head(definition_count), *definitions, encode_array_head(seen_count), *seen]


def _encode_each(
    definitions: Iterable[AnyDefinition | SeenKeys | None],
) -> Generator[None, None, tuple[list[bytes], int]]:
    pieces: list[bytes] = []
    piece = bytearray()
    count = 0
    for looked_at, definition in enumerate(definitions, 1):
        if definition is not None:
            piece += encode(definition)
            count += 1
        if looked_at % DEFINITIONS_PER_SLICE == 0 or len(piece) >= BYTES_PER_SLICE:
            pieces.append(bytes(piece))
            piece.clear()
            yield
    pieces.append(bytes(piece))
    return pieces, count


def _definitions(vhost: Any, exchanges: list[Exchange], queues: list[Queue]) -> Iterator[AnyDefinition | None]:
    """Go through the definitions; None stands for what is not kept, but takes its time too."""
    for operator in (False, True):
        for policy in vhost.policies.list(operator=operator):
            yield PolicyPut.of(policy, operator=operator)
    for exchange in exchanges:
        is_kept = exchange.durable and exchange.name and not exchange.name.startswith(RESERVED_PREFIX)
        yield exchange_definition(exchange) if is_kept else None
    for queue in queues:
        yield queue_definition(queue) if queue.log is not None else None
    for exchange in exchanges:
        for binding in list(exchange.bindings):
            yield binding_definition(Bound, binding) if is_durable(binding) else None


def _seen(exchanges: list[Exchange], queues: list[Queue]) -> Iterator[SeenKeys | None]:
    for queue in queues:
        if queue.log is not None and queue.deduplicator is not None:
            yield from _seen_by(queue.log.number, queue.deduplicator)
        else:
            yield None
    for exchange in exchanges:
        if exchange.durable and exchange.deduplicator is not None:
            yield from _seen_by(exchange.name, exchange.deduplicator)


def _seen_by(owner: int | str, deduplicator: Deduplicator) -> Iterator[SeenKeys]:
    keys = list(deduplicator.items())
    for begin in range(0, len(keys), KEYS_PER_RECORD):
        yield SeenKeys(owner, keys[begin : begin + KEYS_PER_RECORD])
