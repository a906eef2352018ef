"""A virtual host as its journal has it: its definitions, and the way back from there after a start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from broker.durability.definitions import (
    Bound,
    ExchangeDeclared,
    QueueDeclared,
    Unbound,
    encode,
)
from broker.durability.message_replay import ReplayedQueue
from broker.durability.queue_log import QueueLog
from broker.durability.replay import Replay
from broker.logs import get_logger
from broker.paging.restore import restore_messages
from broker.queueing.queue import Queue
from broker.routing.exchange import Binding, Exchange
from protocol.amqp.field_table import decode_table, encode_table
from storage.machine import Machine
from storage.segment import Segment

log = get_logger("vhost")


def restore(vhost: Any, replay: Replay, machine: Machine, *, clean: bool) -> None:
    """Build a virtual host from what its journal has led to; what has to be known of messages is read.

    Unless it was stopped ``clean``, every message is flagged as redelivered: what was delivered in the last moments
    nobody knows. Raises OSError.
    """
    vhost.next_queue_number = replay.next_queue_number
    for put in replay.policies.values():
        vhost.policies.put(put.policy(), operator=put.operator)
    for exchange in replay.exchanges.values():
        arguments = decode_table(exchange.arguments)
        vhost.add_exchange(
            exchange.name,
            vhost.restored_type(exchange.name, exchange.type, arguments),
            durable=True,
            auto_delete=exchange.auto_delete,
            internal=exchange.internal,
            arguments=arguments,
        )
        for key, seen_at_ms in replay.seen.get(exchange.name, {}).items():
            vhost.exchanges[exchange.name].deduplicator.restore(key, seen_at_ms)
    for number, replayed in replay.queues.items():
        _restore_queue(vhost, number, replayed, replay.seen.get(number, {}), machine, clean=clean)
    for bound in replay.bindings.values():
        destination = (vhost.exchanges if bound.to_exchange else vhost.queues).get(bound.destination)
        source = vhost.exchanges.get(bound.source)
        if source is None or destination is None:
            log.warning(
                "binding dropped: what it binds is not declared any more",
                vhost=vhost.name, source=bound.source, destination=bound.destination, routing_key=bound.routing_key,
            )  # fmt: skip
            continue
        vhost.add_binding(Binding(source, destination, bound.routing_key, decode_table(bound.arguments)))


def _restore_queue(
    vhost: Any, number: int, replayed: ReplayedQueue, seen: dict[bytes, int], machine: Machine, *, clean: bool
) -> None:
    definition = replayed.definition
    queue_log = QueueLog(vhost.journal, number)
    queue: Queue = vhost.add_queue(
        definition.name,
        durable=True,
        auto_delete=definition.auto_delete,
        owner=None,
        arguments=decode_table(definition.arguments),
        log=queue_log,
    )
    written_position = 0 if replayed.delivered_unrepeated else replayed.delivered_position
    vhost.unrepeated_returns += [
        UnrepeatedReturn(queue_log, position, *replayed.returns[position], segment)
        for position, segment in replayed.unrepeated_returns.items()
        if position in replayed.returns
    ]
    if not clean and len(replayed.messages):
        replayed.delivered_position = replayed.next_position - 1
    queue_log.restore_delivered(replayed.delivered_position, written_position)
    restore_messages(queue, replayed, vhost.journal, machine, vhost.pager.give_up)
    queue.skip_positions(replayed.next_position)
    queue.ask_for_timer()
    # Of all queues only a store has a consumer already; what fell due while the broker was down goes on.
    queue.wake()
    if queue.deduplicator is not None:
        for key, seen_at_ms in seen.items():
            queue.deduplicator.restore(key, seen_at_ms)


def keep_delivered(vhost: Any) -> None:
    """Write down for which messages the flag ``redelivered`` holds: after a clean stop it is believed."""
    for queue in vhost.all_queues():
        if queue.log is not None:
            queue.log.keep_delivered()


@dataclass(frozen=True, slots=True)
class UnrepeatedReturn:
    """That a message was returned, which only a record tells that stands before the message's copy in ``segment``."""

    log: QueueLog
    position: int
    count: int
    not_before_ms: int
    segment: Segment


def repeat_returns(vhost: Any) -> None:
    """Write behind the copies of messages what became of them, as compaction would have done if it had gone on.

    What stands before a copy means nothing any more when the message's first record is gone.
    """
    for returned in vhost.unrepeated_returns:
        returned.log.put_return(returned.position, returned.count, returned.not_before_ms)
        returned.segment.settled_sequence = vhost.journal.journal.sequence
    vhost.unrepeated_returns.clear()


def keep_recovered_queues(vhost: Any) -> None:
    """Write down the queues that had to be made up for messages whose queue is lost."""
    for name in vhost.recovered_queues:
        log.error("queue declared for messages whose queue is lost", vhost=vhost.name, queue=name)
        vhost.journal.define(encode(queue_definition(vhost.queues[name])))
    vhost.recovered_queues.clear()


def is_durable(binding: Binding) -> bool:
    """Return whether a binding survives a restart, because both of its ends do."""
    destination: Any = binding.destination
    kept = destination.log is not None if isinstance(destination, Queue) else destination.durable
    return binding.source.durable and kept


def exchange_definition(exchange: Exchange) -> ExchangeDeclared:
    """Return the definition of an exchange."""
    return ExchangeDeclared(
        exchange.name, exchange.type.name, exchange.auto_delete, exchange.internal, encode_table(exchange.arguments)
    )


def queue_definition(queue: Queue) -> QueueDeclared:
    """Return the definition of a durable queue."""
    assert queue.log is not None, "only durable queues are defined in the journal"  # noqa: S101
    return QueueDeclared(
        queue.name,
        queue.log.number,
        queue.auto_delete,
        encode_table(queue.arguments),
        queue.peek_next_position(),
        queue.log.delivered_position,
    )


def binding_definition(kind: type[Bound] | type[Unbound], binding: Binding) -> Any:
    """Return the definition of a binding, or of its removal."""
    destination: Any = binding.destination
    to_exchange = isinstance(destination, Exchange)
    return kind(
        binding.source.name,
        destination.name,
        to_exchange,
        binding.routing_key,
        encode_table(dict(sorted(binding.arguments.items()))),
    )
