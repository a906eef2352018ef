"""What queues and exchanges are to do, from their arguments and the policies, and how a change reaches them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from broker.durability.definitions import SeenKeys, encode
from broker.durability.queue_log import RECORD_KINDS
from broker.policy import Policy, PolicySet
from broker.policy.settings import SETTINGS
from broker.policy.values import InvalidValueError
from broker.queueing.arguments import queue_type
from broker.queueing.deduplication import Deduplicator
from broker.queueing.queue import Queue
from broker.queueing.settings import PLAIN, QueueSettings, queue_settings, shared
from broker.routing.exchange import Exchange
from broker.routing.exchange_type import InvalidDefinitionError

# After a change of policies so many queues and exchanges follow before the event loop gets its turn again.
CONFIGURED_PER_TURN_MAX = 500

EXCHANGE_ARGUMENTS = ("deduplication", "deduplication-window", "deduplication-count", "deduplication-header")

_SEEN = RECORD_KINDS["seen"]


def exchange_settings(arguments: Mapping[str, Any]) -> QueueSettings:
    """Return the settings of an exchange; raises ``InvalidDefinitionError`` for an argument with an invalid value."""
    own = {}
    for key in EXCHANGE_ARGUMENTS:
        name = f"x-{key}"
        if name in arguments:
            try:
                SETTINGS[key].check(arguments[name])
            except InvalidValueError as error:
                raise InvalidDefinitionError(f"invalid arg '{name}': {error}") from None
            own[key] = arguments[name]
    return queue_settings(own)


class EffectiveSettings:
    """The policies of a virtual host, and the settings of its queues and exchanges."""

    def __init__(self, vhost: Any) -> None:
        self.policies = PolicySet()
        self._vhost = vhost
        self._shortest_consumer_timeout_ms = 0
        self._pending: deque[Queue | Exchange] = deque()

    def configure_queue(self, queue: Queue) -> None:
        """Make the settings hold that follow from a queue's arguments and the policies."""
        if not queue.arguments and self.policies.is_empty and queue.settings is PLAIN:
            return
        kind = queue_type(queue.arguments)
        effective = self.policies.effective_for_queue(queue.name, kind, queue.arguments)
        settings = shared(queue_settings(effective, queue_type=kind))
        if settings == queue.settings:
            return
        self.note_consumer_timeout(settings.consumer_timeout_ms or 0)
        known = queue.deduplicator
        queue.deduplicator = None
        if settings.deduplication:
            queue.deduplicator = self._deduplicator(settings, None if queue.log is None else queue.log.number)
            if known is not None:
                queue.deduplicator.inherit(known)
        queue.apply(settings)

    def configure_exchange(self, exchange: Exchange) -> None:
        """Do the same for an exchange. Raises ``InvalidDefinitionError`` for an argument with an invalid value."""
        effective = self.policies.effective_for_exchange(exchange.name, exchange.arguments)
        settings = exchange_settings(exchange.arguments)
        exchange.alternate = effective.get("alternate-exchange")
        if settings.deduplication and exchange.deduplicator is None:
            exchange.deduplicator = self._deduplicator(settings, exchange.name if exchange.durable else None)
        exchange.forget_routes()

    def _deduplicator(self, settings: QueueSettings, owner: int | str | None) -> Deduplicator:
        journal = self._vhost.journal

        def remember(key: bytes, seen_at_ms: int) -> None:
            if owner is not None:
                journal.define(encode(SeenKeys(owner, [(key, seen_at_ms)])), _SEEN)

        return Deduplicator(
            window_ms=settings.deduplication_window_ms,
            count_max=settings.deduplication_count,
            header_name=settings.deduplication_header,
            on_remember=remember,
        )

    # Policies

    def put(self, policy: Policy, *, operator: bool) -> None:
        """Add or replace a policy, and have all that it is about follow. Raises ``TooManyPoliciesError``."""
        self.policies.put(policy, operator=operator)
        self._configure_all()

    def remove(self, name: str, *, operator: bool) -> bool:
        """Remove a policy. Returns whether there was one of that name."""
        if self.policies.remove(name, operator=operator) is None:
            return False
        self._configure_all()
        return True

    def _configure_all(self) -> None:
        self._pending.clear()
        self._pending += self._vhost.queues.values()
        self._pending += [exchange for exchange in self._vhost.exchanges.values() if exchange.name]
        self._configure_some()

    def _configure_some(self) -> None:
        try:
            for _ in range(min(len(self._pending), CONFIGURED_PER_TURN_MAX)):
                one = self._pending.popleft()
                if isinstance(one, Exchange):
                    if self._vhost.exchanges.get(one.name) is one:
                        self.configure_exchange(one)
                elif not one.deleted:
                    self.configure_queue(one)
        finally:
            # What a queue wants of publishers is part of the routes to it.
            self._vhost.routes.clear()
            if self._pending:
                self._vhost.turn.want_step(self._configure_some)

    # Consumer timeouts

    def note_consumer_timeout(self, timeout_ms: int) -> None:
        """Take in that a queue or a consumer has a time limit of its own."""
        if timeout_ms and (not self._shortest_consumer_timeout_ms or timeout_ms < self._shortest_consumer_timeout_ms):
            self._shortest_consumer_timeout_ms = timeout_ms

    def shortest_consumer_timeout_ms(self, default_ms: int) -> int:
        """Return the shortest time that any consumer here may keep a message, 0 for no limit at all."""
        timeouts = [timeout_ms for timeout_ms in (default_ms, self._shortest_consumer_timeout_ms) if timeout_ms]
        return min(timeouts, default=0)
