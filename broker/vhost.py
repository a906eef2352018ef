"""A virtual host: its exchanges, queues and bindings, and the journal that keeps the durable ones."""

from __future__ import annotations

import asyncio
import sys
from collections import ChainMap, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from broker.dead_lettering.deaths import routing_keys_of
from broker.dead_lettering.transfers import Transfers
from broker.delayed_exchanges import DelayedExchanges
from broker.durability import vhost_state
from broker.durability.damage_report import DamageReport
from broker.durability.definitions import (
    AnyDefinition,
    Bound,
    ExchangeDeleted,
    PolicyDeleted,
    PolicyPut,
    QueueDeleted,
    Unbound,
    encode,
)
from broker.durability.message_replay import MessageReplay
from broker.durability.mover import EvacuationMover
from broker.durability.queue_log import QueueLog, VirtualHostJournal
from broker.durability.replay import Replay
from broker.durability.slices import snapshot_in_slices
from broker.durability.vhost_state import binding_definition, exchange_definition, is_durable, queue_definition
from broker.effective_settings import EffectiveSettings, exchange_settings
from broker.exclusive_queues import ExclusiveQueues
from broker.hooks import event_properties
from broker.hooks.events import Events
from broker.hooks.message_hooks import MessageHooks
from broker.hooks.taps import Taps
from broker.logs import get_logger
from broker.long_work import LongWorks, OneByOne
from broker.metrics.counters import Counters
from broker.paging.page_out import PageOut
from broker.paging.pager import Pager
from broker.policy import Policy, PolicySet
from broker.predeclared import INTERNAL_EXCHANGES, PREDECLARED_EXCHANGES
from broker.publishing import publish_to_queues
from broker.purges import Purges
from broker.queue_services import QueueServices
from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
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
from broker.timers import QueueTimers
from broker.turn import Turn
from protocol.amqp.errors import not_found
from protocol.amqp.header_fields import find_traits
from storage.errors import JournalFailed
from storage.journal import Journal
from storage.machine import Machine
from storage.options import JournalOptions
from storage.recovery import Recovery
from storage.scrubber import Scrubber

log = get_logger("vhost")

# So many deliveries are settled in one turn, of all channels together, and so many of one while others wait.
SETTLED_PER_TURN_MAX = 5_000
SETTLED_OF_ONE_MAX = 1_000
# What one turn does of the commits of transactions: so many messages are checked, put into a queue, or settled.
COMMITTED_PER_TURN_MAX = 2_000


class VirtualHost(QueueServices):
    """One virtual host, opened from its journal.

    The methods here change the state and write it down; whether a client may do so, and what it is told, is decided
    by the sessions. Those that change something durable return the number of the batch of the journal that makes it
    so, 0 if there is nothing to wait for.
    """

    def __init__(
        self, name: str, journal: Journal, turn: Turn, counters: Counters, page_out: PageOut | None = None
    ) -> None:
        self.name = name
        self.turn = turn
        self.counters = counters
        self.queues: dict[str, Queue] = {}
        self.reply_queues: dict[str, Queue] = {}
        self.exchanges: dict[str, Exchange] = {"": default_exchange(ChainMap(self.queues, self.reply_queues))}
        self._alternates = Alternates(self.exchanges)
        self.routes = RouteCache(self.find_exchange)
        self.journal = VirtualHostJournal(journal, self._journal_touched)
        self.keeps_history = journal.keeps_history
        self.damage = DamageReport(name)
        self.scrubber: Scrubber | None = None
        self.recovered_queues: list[str] = []
        self.unrepeated_returns: list[vhost_state.UnrepeatedReturn] = []
        self.channels: set[Any] = set()
        self.mover = EvacuationMover(self.journal, self.channels)
        journal.compact_with(self.mover)
        self._waiting: deque[Any] = deque()
        self.next_queue_number = 1
        self.settings = EffectiveSettings(self)
        self.timers = QueueTimers()
        page_out = page_out or PageOut(turn, sys.maxsize)
        self.budget = page_out.budget
        self.pager = Pager(self, page_out)
        self.mover.pager = self.pager
        self.transfers = Transfers(self)
        self.purges = Purges(turn)
        self.settlements = LongWorks(turn, SETTLED_PER_TURN_MAX, SETTLED_OF_ONE_MAX)
        self.commits = OneByOne(turn, COMMITTED_PER_TURN_MAX)
        self.delays = DelayedExchanges(self)
        self._bindings_of_queue: dict[Queue, dict[Binding, None]] = {}
        self.exclusive_queues = ExclusiveQueues(self)
        for exchange_name, type_name in PREDECLARED_EXCHANGES.items():
            exchange_type = find_exchange_type(type_name)({})
            self.exchanges[exchange_name] = Exchange(
                exchange_name,
                exchange_type,
                durable=True,
                internal=exchange_name in INTERNAL_EXCHANGES,
                alternates=self._alternates,
            )
        self.taps = Taps()
        self._hooks = MessageHooks(self, self.taps)
        self.events = Events(turn)

    @classmethod
    def open(
        cls,
        name: str,
        directory: Path,
        turn: Turn,
        counters: Counters,
        options: JournalOptions,
        on_failure: Callable[[str, JournalFailed], None],
        page_out: PageOut | None = None,
        machine: Machine | None = None,
        progress: Callable[[int, int], object] | None = None,
        on_room: Callable[[], object] | None = None,
    ) -> VirtualHost:
        """Replay the journal in ``directory`` and go on writing it.

        Raises ``storage.errors.JournalError`` where its files cannot be believed, and ``OSError``. ``on_failure``
        is called when the journal fails later, ``on_room`` when it has taken room on the disk, and when it finds none
        or finds some again. Messages are paged out as ``page_out`` says. ``machine`` is what the
        journal runs on: this one, without another. ``progress`` is told how many bytes of the journal have been gone
        through, and of how many.
        """
        machine = machine or Machine()
        recovery = Recovery(directory, machine.filesystem)
        recovery.progress = progress
        replay = Replay()
        if recovery.checkpoint is not None:
            replay.take_checkpoint(recovery.checkpoint.payload)
        recovery.replay(replay.messages)
        for repair in recovery.repairs:
            log.info("journal recovered", vhost=name, repair=str(repair))
        damage = DamageReport(name)
        damage.found_at_start(recovery.damages)
        opened: list[VirtualHost] = []
        journal = Journal(
            recovery,
            durable=lambda _: opened[0]._journal_durable(),
            failed=lambda error: on_failure(name, error),
            fetched=lambda fetch: opened[0].pager.fetched(fetch),
            room=on_room,
            snapshot=lambda: snapshot_in_slices(opened[0]),
            replayer=MessageReplay(None),
            options=options,
            machine=machine,
        )
        vhost = cls(name, journal, turn, counters, page_out)
        vhost.damage = damage
        opened.append(vhost)
        try:
            vhost_state.restore(vhost, replay, machine, clean=recovery.clean)
        except OSError:
            journal.abandon()
            raise
        vhost.recovered_queues = [replay.queues[number].definition.name for number in replay.recovered]
        replay.messages.close()
        return vhost

    def attach(self, loop: asyncio.AbstractEventLoop, watch: Callable[[int, Callable[[], None]], None]) -> None:
        """Have the loop call the journal when a commit has ended, and queues when something is due.

        ``watch`` has something called when a descriptor is readable.
        """
        self.timers.attach(loop)
        self.pager.attach(loop)
        watch(self.journal.journal.completion_fd, self._commit_finished)
        vhost_state.keep_recovered_queues(self)
        vhost_state.repeat_returns(self)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bring everything on disk and close the journal. Blocks while it does so."""
        if self.scrubber is not None:
            self.scrubber.stop()
        self.timers.close()
        self.pager.close()
        loop.remove_reader(self.journal.journal.completion_fd)
        self.close_journal()

    def close_journal(self) -> None:
        """Bring everything on disk, with what only the next start has to know, and close the journal."""
        try:
            if not self.journal.journal.failed:
                self.commits.finish()
                self.settlements.finish()
                # An exchange may go with the last of the queues that were bound to it.
                self.exclusive_queues.finish()
        finally:
            vhost_state.keep_delivered(self)
            self.journal.write_settled()
            self.journal.journal.close()

    # Tracing

    @property
    def tracing(self) -> bool:
        """Whether the firehose is on."""
        return self._hooks.tracing

    def set_tracing(self, on: bool) -> None:
        """Switch the firehose on or off: copies of all messages for ``amq.rabbitmq.trace``."""
        self._hooks.set_tracing(on)
        log.info("tracing switched " + ("on" if on else "off"), vhost=self.name)

    # Journal

    @property
    def durable_batch(self) -> int:
        """The number of the last batch that is on disk."""
        return self.journal.journal.durable_batch

    def wait_for_journal(self, channel: Any) -> None:
        """Call ``channel.journal_durable`` at each commit until it returns False."""
        self._waiting.append(channel)

    def take_waiting(self) -> deque[Any]:
        """Return the channels that wait for the journal, which calls none of them any more."""
        waiting, self._waiting = self._waiting, deque()
        return waiting

    def _journal_touched(self) -> None:
        self.turn.want_commit(self._commit)

    def _commit(self) -> None:
        self.journal.commit_wanted = False
        journal = self.journal.journal
        if journal.out_of_room is not None and (journal.stuck or not journal.gathering_bytes):
            # Nobody waits for what consumers have settled, and together it takes less of the room that is left. The
            # journal tries for more room once a second, and how that ends has it written in any case.
            return
        self.journal.write_settled()
        if not journal.failed:
            journal.commit()

    def _commit_finished(self) -> None:
        # The next batch may begin in the middle of a turn. What is in it must not be on disk, and confirmed, before
        # the acknowledgements that came ahead of it.
        self.journal.write_settled()
        self.journal.journal.on_commit_finished()

    def _journal_durable(self) -> None:
        batch = self.durable_batch
        self.pager.written(batch)
        self.mover.written(batch)
        left = len(self._waiting)
        try:
            while left:
                left -= 1
                channel = self._waiting.popleft()
                if channel.journal_durable(batch):
                    self._waiting.append(channel)
        finally:
            if left:
                self.turn.want_step(self._journal_durable)

    def _define(self, definition: AnyDefinition) -> int:
        return self.journal.define(encode(definition))

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
        """Add an exchange that is not there yet.

        Raises ``InvalidDefinitionError`` for an unknown type, or an argument with a value that it cannot have.
        """
        exchange_settings(arguments)
        exchange_type = find_exchange_type(type_name)(arguments)
        exchange = self.add_exchange(
            name, exchange_type, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments
        )
        self.journal.begin_unit()
        try:
            if durable:
                self._define(exchange_definition(exchange))
            self.delays.declared(exchange)
        finally:
            batch = self.journal.end_unit()
        self.events.tell("exchange.created", event_properties.exchange_created, self, exchange)
        return batch

    def restored_type(self, name: str, type_name: str, arguments: dict[str, Any]) -> ExchangeType:
        """Return the type of an exchange that was there before a restart, or one that stands for a missing type."""
        try:
            return find_exchange_type(type_name)(arguments)
        except InvalidDefinitionError as error:
            log.warning("exchange kept, but it refuses messages", vhost=self.name, exchange=name, reason=str(error))
            return UnknownExchangeType(type_name, f"exchange '{name}' in vhost '{self.name}'")

    def add_exchange(
        self,
        name: str,
        exchange_type: ExchangeType,
        *,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: dict[str, Any],
    ) -> Exchange:
        """Add an exchange, without a word to the journal."""
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
        self.settings.configure_exchange(exchange)
        return exchange

    def delete_exchange(self, exchange: Exchange) -> int:
        """Delete an exchange and its bindings, and the auto-delete exchanges that lose their last binding by it."""
        del self.exchanges[exchange.name]
        batch = self._define(ExchangeDeleted(exchange.name)) if exchange.durable else 0
        self.delays.deleted(exchange)
        self.events.tell("exchange.deleted", event_properties.exchange_deleted, self, exchange)
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
        if not self.add_binding(binding):
            return 0
        batch = self._define(binding_definition(Bound, binding)) if is_durable(binding) else 0
        self.events.tell("binding.created", event_properties.binding, self, binding)
        for past in binding.source.type.past_messages(binding):
            batch = self._publish_past(past, binding.destination) or batch
        return batch

    def _publish_past(self, past: PastMessage, destination: Destination) -> int:
        message = Message(past.address, past.header, past.body, past.persistent, find_traits(past.header))
        queues: Any = (destination,)
        if isinstance(destination, Exchange):
            queues = find_queues(destination, past.routing_keys, MessageView(message)) or ()
        return publish_to_queues(self, queues, message).batch

    def add_binding(self, binding: Binding) -> bool:
        """Add a binding, without a word to the journal. Returns whether it is new."""
        if not binding.source.bind(binding):
            return False
        self._hooks.bindings_changed(binding.source)
        if isinstance(binding.destination, Queue):
            self._bindings_of_queue.setdefault(binding.destination, {})[binding] = None
        return True

    def unbind(self, binding: Binding) -> int:
        """Remove a binding, if it is there."""
        if binding.source.unbind(binding) is None:
            return 0
        self._forget_binding(binding)
        batch = self._define(binding_definition(Unbound, binding)) if is_durable(binding) else 0
        return self._delete_if_unused(binding.source) or batch

    def _forget_binding(self, binding: Binding) -> None:
        self._hooks.bindings_changed(binding.source)
        self.events.tell("binding.deleted", event_properties.binding, self, binding)
        if isinstance(binding.destination, Queue):
            bindings = self._bindings_of_queue.get(binding.destination)
            if bindings is not None:
                bindings.pop(binding, None)
                if not bindings:
                    del self._bindings_of_queue[binding.destination]

    def bindings_of_queue(self, queue: Queue) -> list[Binding]:
        """Return the bindings that lead into a queue."""
        return list(self._bindings_of_queue.get(queue, ()))

    # Queues

    def all_queues(self) -> list[Queue]:
        """Return all queues, with those that no client sees."""
        return [*self.queues.values(), *self.delays.stores.values()]

    def find_queue(self, name: str) -> Queue:
        """Return a queue; raises ``ChannelException`` (NOT_FOUND) if there is none of that name."""
        queue = self.look_up_queue(name)
        if queue is None:
            raise not_found(f"no queue '{name}' in vhost '{self.name}'")
        return queue

    def look_up_queue(self, name: str) -> Queue | None:
        """Return a queue, or None if there is none of that name (any more)."""
        queue = self.queues.get(name)
        if queue is not None and self.exclusive_queues.is_doomed(queue):
            self.delete_queue(queue)
            return None
        return queue

    def declare_queue(
        self, name: str, *, durable: bool, auto_delete: bool, owner: Any, arguments: dict[str, Any]
    ) -> tuple[Queue, int]:
        """Add a queue that is not there yet; ``owner`` is the connection that has it exclusively, or None."""
        queue_log = None
        if durable and owner is None:
            queue_log = QueueLog(self.journal, self.new_queue_number())
        queue = self.add_queue(
            name, durable=durable, auto_delete=auto_delete, owner=owner, arguments=arguments, log=queue_log
        )
        self.counters.queues_created += 1
        self.events.tell("queue.created", event_properties.queue_created, self, queue)
        return queue, self._define(queue_definition(queue)) if queue_log is not None else 0

    def new_queue_number(self) -> int:
        """Return a number for a durable queue, which no other one ever had."""
        number = self.next_queue_number
        self.next_queue_number += 1
        return number

    def add_queue(
        self,
        name: str,
        *,
        durable: bool,
        auto_delete: bool,
        owner: Any,
        arguments: dict[str, Any],
        log: QueueLog | None,
    ) -> Queue:
        """Add a queue, without a word to the journal."""
        queue = Queue(
            name,
            durable=durable,
            auto_delete=auto_delete,
            exclusive_owner=owner,
            arguments=arguments,
            log=log,
            turn=self.turn,
            host=self,
        )
        self.settings.configure_queue(queue)
        if self.delays.adopt(queue):
            return queue
        self.queues[name] = queue
        self.routes.forget_queue(name)
        if owner is not None:
            self.exclusive_queues.add(queue)
        return queue

    def delete_queue(self, queue: Queue) -> tuple[int, int]:
        """Delete a queue with its messages, bindings and consumers. Returns how many were ready, and the batch."""
        batch = 0
        del self.queues[queue.name]
        self.routes.forget_queue(queue.name)
        queue.deleted = True
        self.journal.holders.pop(queue.page_number, None)
        if queue.log is not None:
            batch = self._define(QueueDeleted(queue.name, queue.log.number))
            queue.log.drop()
        if queue.exclusive_owner is not None:
            self.exclusive_queues.remove(queue)
        for binding in self._bindings_of_queue.pop(queue, {}):
            binding.source.unbind(binding)
            self._forget_binding(binding)
            batch = self._delete_if_unused(binding.source) or batch
        consumers = list(queue.consumers)
        queue.consumers.clear()
        for consumer in consumers:
            consumer.target.consumer_cancelled(consumer)
            self.events.tell("consumer.deleted", event_properties.consumer_deleted, self, consumer)
        self.counters.queues_deleted += 1
        self.events.tell("queue.deleted", event_properties.queue_deleted, self, queue)
        return queue.purge(), batch

    def add_reply_queue(self, queue: Queue) -> None:
        """Add a queue that only its name leads to: nothing lists it (direct reply-to)."""
        self.reply_queues[queue.name] = queue
        self.routes.forget_queue(queue.name)

    def remove_reply_queue(self, queue: Queue) -> None:
        """Remove a queue of direct reply-to, with what waits in it."""
        del self.reply_queues[queue.name]
        self.routes.forget_queue(queue.name)
        queue.deleted = True
        self.journal.holders.pop(queue.page_number, None)
        queue.purge()

    def add_consumer(self, consumer: Consumer) -> None:
        """Add a consumer to its queue. The caller wakes the queue."""
        consumer.queue.add_consumer(consumer)
        # The name of a reply queue is a secret.
        if consumer.queue.name not in self.reply_queues:
            self.events.tell("consumer.created", event_properties.consumer_created, self, consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """Remove a consumer; an auto-delete queue goes with its last one."""
        queue: Queue = consumer.queue
        if not queue.deleted:
            queue.remove_consumer(consumer)
            if queue.name in self.reply_queues:
                self.remove_reply_queue(queue)
                return
            self.events.tell("consumer.deleted", event_properties.consumer_deleted, self, consumer)
            if queue.auto_delete and not queue.consumers:
                self.delete_queue(queue)

    # Policies

    @property
    def policies(self) -> PolicySet:
        """The policies; they are changed with ``put_policy`` and ``delete_policy`` only."""
        return self.settings.policies

    def put_policy(self, policy: Policy, *, operator: bool = False) -> int:
        """Add a policy, or replace the one of that name, and make it hold at once.

        Raises ``broker.policy.TooManyPoliciesError``. ``broker.policy.validate_policy`` makes a policy out of what
        a user gives.
        """
        self.settings.put(policy, operator=operator)
        self.events.tell("policy.set", event_properties.policy_set, self, policy)
        return self._define(PolicyPut.of(policy, operator=operator))

    def delete_policy(self, name: str, *, operator: bool = False) -> int | None:
        """Remove a policy. Returns None if there is none of that name."""
        if not self.settings.remove(name, operator=operator):
            return None
        event = "operator.policy.cleared" if operator else "policy.cleared"
        self.events.tell(event, event_properties.named, self, name)
        return self._define(PolicyDeleted(operator, name))

    # What queues ask

    def expire_queue(self, queue: Queue) -> None:
        """See ``QueueHost``."""
        self.delete_queue(queue)

    # Routing

    def route_by_message(self, route: Route, message: Message, extra_keys: tuple[str, ...] = ()) -> Route:
        """Return where one message goes whose route is dynamic, or that has further routing keys."""
        return route.for_message(MessageView(message), extra_keys)

    def publish_due(self, store: Queue, message: Message) -> None:
        """Route a message that a delayed message exchange has held back in ``store``."""
        released = self.delays.release(store, message)
        if released is not None:
            exchange, message = released
            queues = self.find_queues(exchange, routing_keys_of(message), message)
            publish_to_queues(self, queues, message)

    def find_queues(self, exchange: Exchange, routing_keys: Sequence[str], message: Message) -> list[Any]:
        """Return the queues that a message of the broker's own doing goes to."""
        return list(find_queues(exchange, tuple(routing_keys), MessageView(message)) or ())
