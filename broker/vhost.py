"""A virtual host: its exchanges, queues and bindings, and the journal that keeps the durable ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker.durability.definitions import (
    AnyDefinition,
    Bound,
    ExchangeDeclared,
    ExchangeDeleted,
    QueueDeclared,
    QueueDeleted,
    Snapshot,
    Unbound,
    encode,
)
from broker.durability.queue_log import QueueLog, VirtualHostJournal
from broker.durability.replay import Replay
from broker.logs import get_logger
from broker.metrics.counters import Counters
from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
from broker.queueing.placement import place
from broker.queueing.queue import Queue
from broker.routing.alternates import Alternates
from broker.routing.default import default_exchange
from broker.routing.exchange import Binding, Destination, Exchange
from broker.routing.exchange_type import ExchangeType, InvalidDefinitionError
from broker.routing.message_view import MessageView
from broker.routing.past_message import PastMessage
from broker.routing.registry import find_exchange_type
from broker.routing.route import Route, RouteCache
from broker.routing.router import find_queues
from broker.routing.unknown import UnknownExchangeType
from broker.turn import Turn
from protocol.amqp.errors import not_found
from protocol.amqp.field_table import decode_table, encode_table
from storage.errors import JournalFailed
from storage.journal import Journal
from storage.options import JournalOptions
from storage.recovery import Recovery

log = get_logger("vhost")

PREDECLARED_EXCHANGES = {
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
}
RESERVED_PREFIX = "amq."


class VirtualHost:
    """One virtual host, opened from its journal.

    The methods here change the state and write it down; whether a client may do so, and what it is told, is decided
    by the sessions. Those that change something durable return the number of the batch of the journal that makes it
    so, 0 if there is nothing to wait for.
    """

    def __init__(self, name: str, journal: Journal, turn: Turn, counters: Counters) -> None:
        self.name = name
        self.turn = turn
        self.counters = counters
        self.queues: dict[str, Queue] = {}
        self.exchanges: dict[str, Exchange] = {"": default_exchange(self.queues)}
        self._alternates = Alternates(self.exchanges)
        self.routes = RouteCache(self.find_exchange)
        self.journal = VirtualHostJournal(journal, self._journal_touched)
        self._commit_wanted = False
        self._waiting: list[Any] = []
        self._next_queue_number = 1
        self._bindings_of_queue: dict[Queue, dict[Binding, None]] = {}
        self._exclusive_queues: dict[Any, dict[Queue, None]] = {}
        for exchange_name, type_name in PREDECLARED_EXCHANGES.items():
            exchange_type = find_exchange_type(type_name)({})
            self.exchanges[exchange_name] = Exchange(
                exchange_name, exchange_type, durable=True, alternates=self._alternates
            )

    @classmethod
    def open(
        cls,
        name: str,
        directory: Path,
        turn: Turn,
        counters: Counters,
        options: JournalOptions,
        on_failure: Callable[[str, JournalFailed], None],
    ) -> VirtualHost:
        """Replay the journal in ``directory`` and go on writing it.

        Raises ``storage.errors.JournalError`` where its files cannot be believed, and ``OSError``. ``on_failure``
        is called when the journal fails later.
        """
        recovery = Recovery(directory)
        replay = Replay()
        if recovery.checkpoint is not None:
            replay.take_checkpoint(recovery.checkpoint.payload)
        replay.take_records(recovery.records())
        for repair in recovery.repairs:
            log.info("journal recovered", vhost=name, repair=str(repair))
        opened: list[VirtualHost] = []
        journal = Journal(
            recovery,
            durable=lambda batch: opened[0]._journal_durable(batch),
            failed=lambda error: on_failure(name, error),
            snapshot=lambda: opened[0]._snapshot(),
            options=options,
        )
        vhost = cls(name, journal, turn, counters)
        opened.append(vhost)
        vhost._restore(replay)
        return vhost

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop call the journal when a commit has ended."""
        loop.add_reader(self.journal.journal.completion_fd, self.journal.journal.on_commit_finished)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bring everything on disk and close the journal. Blocks while it does so."""
        loop.remove_reader(self.journal.journal.completion_fd)
        self.journal.write_settled()
        self.journal.journal.close()

    # Journal

    @property
    def durable_batch(self) -> int:
        """The number of the last batch that is on disk."""
        return self.journal.journal.durable_batch

    def wait_for_journal(self, channel: Any) -> None:
        """Call ``channel.journal_durable`` at each commit until it returns False."""
        self._waiting.append(channel)

    def _journal_touched(self) -> None:
        if not self._commit_wanted:
            self._commit_wanted = True
            self.turn.want_commit(self._commit)

    def _commit(self) -> None:
        self._commit_wanted = False
        self.journal.write_settled()
        if not self.journal.journal.failed:
            self.journal.journal.commit()

    def _journal_durable(self, batch: int) -> None:
        waiting = self._waiting
        self._waiting = []
        still = [channel for channel in waiting if channel.journal_durable(batch)]
        self._waiting += still

    def _define(self, definition: AnyDefinition) -> int:
        return self.journal.define(encode(definition))

    def _snapshot(self) -> bytes:
        definitions: list[AnyDefinition] = [
            _exchange_definition(exchange)
            for exchange in self.exchanges.values()
            if exchange.durable and exchange.name and not exchange.name.startswith(RESERVED_PREFIX)
        ]
        definitions += [_queue_definition(queue) for queue in self.queues.values() if queue.log is not None]
        definitions += [
            _binding_definition(Bound, binding)
            for exchange in self.exchanges.values()
            for binding in exchange.bindings
            if self._is_durable(binding)
        ]
        return encode(Snapshot(self._next_queue_number, definitions))

    def _restore(self, replay: Replay) -> None:
        self._next_queue_number = replay.next_queue_number
        for exchange in replay.exchanges.values():
            arguments = decode_table(exchange.arguments)
            self._add_exchange(
                exchange.name,
                self._restored_type(exchange.name, exchange.type, arguments),
                durable=True,
                auto_delete=exchange.auto_delete,
                internal=exchange.internal,
                arguments=arguments,
            )
        for number, replayed in replay.queues.items():
            queue_log = QueueLog(self.journal, number)
            queue = self._add_queue(
                replayed.definition.name,
                durable=True,
                auto_delete=replayed.definition.auto_delete,
                owner=None,
                arguments=decode_table(replayed.definition.arguments),
                log=queue_log,
            )
            queue_log.restore_delivered(replayed.delivered_position)
            for position, (message, segment) in replayed.messages.items():
                queue_log.restore(message, segment)
                queue.restore(message, position, position <= replayed.delivered_position)
            queue.skip_positions(replayed.next_position)
        for bound in replay.bindings.values():
            destination = self.exchanges[bound.destination] if bound.to_exchange else self.queues[bound.destination]
            self._bind(
                Binding(self.exchanges[bound.source], destination, bound.routing_key, decode_table(bound.arguments))
            )

    # Exchanges

    def find_exchange(self, name: str) -> Exchange:
        """Return an exchange; raises ``ChannelException`` (NOT_FOUND) if there is none of that name."""
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise not_found(f"no exchange '{name}' in vhost '{self.name}'")
        return exchange

    def declare_exchange(
        self, name: str, type_name: str, *, durable: bool, auto_delete: bool, internal: bool, arguments: dict[str, Any]
    ) -> int:
        """Add an exchange that is not there yet. Raises ``InvalidDefinitionError`` for an unknown type."""
        exchange_type = find_exchange_type(type_name)(arguments)
        exchange = self._add_exchange(
            name, exchange_type, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments
        )
        return self._define(_exchange_definition(exchange)) if durable else 0

    def _restored_type(self, name: str, type_name: str, arguments: dict[str, Any]) -> ExchangeType:
        try:
            return find_exchange_type(type_name)(arguments)
        except InvalidDefinitionError as error:
            log.warning("exchange kept, but it refuses messages", vhost=self.name, exchange=name, reason=str(error))
            return UnknownExchangeType(type_name, f"exchange '{name}' in vhost '{self.name}'")

    def _add_exchange(
        self,
        name: str,
        exchange_type: ExchangeType,
        *,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: dict[str, Any],
    ) -> Exchange:
        exchange = Exchange(
            name,
            exchange_type,
            durable=durable,
            auto_delete=auto_delete,
            internal=internal,
            arguments=arguments,
            alternates=self._alternates,
        )
        self.exchanges[name] = exchange
        exchange.forget_routes()
        return exchange

    def delete_exchange(self, exchange: Exchange) -> int:
        """Delete an exchange and its bindings, and the auto-delete exchanges that lose their last binding by it."""
        del self.exchanges[exchange.name]
        batch = self._define(ExchangeDeleted(exchange.name)) if exchange.durable else 0
        removed = exchange.detach()
        for binding in removed:
            self._forget_binding(binding)
        for source in {binding.source for binding in removed if binding.source is not exchange}:
            batch = self._delete_if_unused(source) or batch
        return batch

    def _delete_if_unused(self, exchange: Exchange) -> int:
        if exchange.auto_delete and not exchange.bindings and self.exchanges.get(exchange.name) is exchange:
            return self.delete_exchange(exchange)
        return 0

    # Bindings

    def bind(self, binding: Binding) -> int:
        """Add a binding, if it is not there. Raises ``InvalidDefinitionError`` where the exchange refuses it."""
        if not self._bind(binding):
            return 0
        batch = self._define(_binding_definition(Bound, binding)) if self._is_durable(binding) else 0
        for past in binding.source.type.past_messages(binding):
            batch = self._publish_past(past, binding.destination) or batch
        return batch

    def _publish_past(self, past: PastMessage, destination: Destination) -> int:
        message = Message(past.address, past.header, past.body, past.persistent)
        if isinstance(destination, Exchange):
            queues: Any = find_queues(destination, past.routing_keys, MessageView(message)) or ()
        else:
            queues = (destination,)
        return place(message, queues, True, self.journal) if queues else 0

    def _bind(self, binding: Binding) -> bool:
        if not binding.source.bind(binding):
            return False
        if isinstance(binding.destination, Queue):
            self._bindings_of_queue.setdefault(binding.destination, {})[binding] = None
        return True

    def unbind(self, binding: Binding) -> int:
        """Remove a binding, if it is there."""
        if binding.source.unbind(binding) is None:
            return 0
        self._forget_binding(binding)
        batch = self._define(_binding_definition(Unbound, binding)) if self._is_durable(binding) else 0
        return self._delete_if_unused(binding.source) or batch

    def _forget_binding(self, binding: Binding) -> None:
        if isinstance(binding.destination, Queue):
            bindings = self._bindings_of_queue.get(binding.destination)
            if bindings is not None:
                bindings.pop(binding, None)
                if not bindings:
                    del self._bindings_of_queue[binding.destination]

    def _is_durable(self, binding: Binding) -> bool:
        destination = binding.destination
        kept = destination.log is not None if isinstance(destination, Queue) else destination.durable
        return binding.source.durable and kept

    def bindings_of_queue(self, queue: Queue) -> list[Binding]:
        """Return the bindings that lead into a queue."""
        return list(self._bindings_of_queue.get(queue, ()))

    # Queues

    def find_queue(self, name: str) -> Queue:
        """Return a queue; raises ``ChannelException`` (NOT_FOUND) if there is none of that name."""
        queue = self.queues.get(name)
        if queue is None:
            raise not_found(f"no queue '{name}' in vhost '{self.name}'")
        return queue

    def declare_queue(
        self, name: str, *, durable: bool, auto_delete: bool, owner: Any, arguments: dict[str, Any]
    ) -> tuple[Queue, int]:
        """Add a queue that is not there yet; ``owner`` is the connection that has it exclusively, or None."""
        queue_log = None
        if durable and owner is None:
            queue_log = QueueLog(self.journal, self._next_queue_number)
            self._next_queue_number += 1
        queue = self._add_queue(
            name, durable=durable, auto_delete=auto_delete, owner=owner, arguments=arguments, log=queue_log
        )
        self.counters.queues_created += 1
        return queue, self._define(_queue_definition(queue)) if queue_log is not None else 0

    def _add_queue(
        self,
        name: str,
        *,
        durable: bool,
        auto_delete: bool,
        owner: Any,
        arguments: dict[str, Any],
        log: QueueLog | None,
    ) -> Queue:
        queue = Queue(
            name,
            durable=durable,
            auto_delete=auto_delete,
            exclusive_owner=owner,
            arguments=arguments,
            log=log,
            turn=self.turn,
        )
        self.queues[name] = queue
        self.routes.forget_queue(name)
        if owner is not None:
            self._exclusive_queues.setdefault(owner, {})[queue] = None
        return queue

    def delete_queue(self, queue: Queue) -> tuple[int, int]:
        """Delete a queue with its messages, bindings and consumers. Returns how many were ready, and the batch."""
        batch = 0
        del self.queues[queue.name]
        self.routes.forget_queue(queue.name)
        queue.deleted = True
        if queue.log is not None:
            batch = self._define(QueueDeleted(queue.name, queue.log.number))
            queue.log.drop()
        if queue.exclusive_owner is not None:
            self._exclusive_queues.get(queue.exclusive_owner, {}).pop(queue, None)
        for binding in self._bindings_of_queue.pop(queue, {}):
            binding.source.unbind(binding)
            batch = self._delete_if_unused(binding.source) or batch
        consumers = list(queue.consumers)
        queue.consumers.clear()
        for consumer in consumers:
            consumer.target.consumer_cancelled(consumer)
        self.counters.queues_deleted += 1
        return queue.purge(), batch

    def remove_consumer(self, consumer: Consumer) -> None:
        """Remove a consumer; an auto-delete queue goes with its last one."""
        queue: Queue = consumer.queue
        if not queue.deleted:
            queue.remove_consumer(consumer)
            if queue.auto_delete and not queue.consumers:
                self.delete_queue(queue)

    def connection_ended(self, connection: Any) -> None:
        """Delete the queues that a connection had exclusively."""
        for queue in list(self._exclusive_queues.pop(connection, ())):
            if not queue.deleted:
                self.delete_queue(queue)

    # Routing

    def route_by_message(self, route: Route, message: Message, extra_keys: tuple[str, ...] = ()) -> Route:
        """Return where one message goes whose route is dynamic, or that has further routing keys."""
        return route.for_message(MessageView(message), extra_keys)


def _exchange_definition(exchange: Exchange) -> ExchangeDeclared:
    return ExchangeDeclared(
        exchange.name, exchange.type.name, exchange.auto_delete, exchange.internal, encode_table(exchange.arguments)
    )


def _queue_definition(queue: Queue) -> QueueDeclared:
    assert queue.log is not None, "only durable queues are defined in the journal"  # noqa: S101
    return QueueDeclared(
        queue.name,
        queue.log.number,
        queue.auto_delete,
        encode_table(queue.arguments),
        queue.peek_next_position(),
        queue.log.delivered_position,
    )


def _binding_definition(kind: type[Bound] | type[Unbound], binding: Binding) -> Any:
    destination: Any = binding.destination
    to_exchange = isinstance(destination, Exchange)
    return kind(
        binding.source.name,
        destination.name,
        to_exchange,
        binding.routing_key,
        encode_table(dict(sorted(binding.arguments.items()))),
    )
