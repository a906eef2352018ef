"""From a journal's records to the state of a virtual host: which definitions stand, and which messages are left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from broker.durability.definitions import (
    Bound,
    ExchangeDeclared,
    ExchangeDeleted,
    PolicyDeleted,
    PolicyPut,
    QueueDeclared,
    QueueDeleted,
    SeenKeys,
    Unbound,
    decode,
    decode_seen,
    decode_snapshot,
)
from broker.durability.queue_log import RECORD_KINDS, decode_publish, decode_return, decode_settle
from broker.queueing.message import Message
from storage.segment import Segment

_PUBLISH = RECORD_KINDS["publish"]
_SETTLE = RECORD_KINDS["settle"]
_PUBLISH_TIMED = RECORD_KINDS["publish_timed"]
_RETURN = RECORD_KINDS["return"]
_SEEN = RECORD_KINDS["seen"]
_DEFINITION = RECORD_KINDS["definition"]


BindingKey = tuple[str, str, bool, str, bytes]
"""Source, destination, whether that is an exchange, routing key, and arguments."""


@dataclass(slots=True)
class ReplayedQueue:
    """A queue, and its messages by position, in order."""

    definition: QueueDeclared
    next_position: int = 1
    delivered_position: int = 0
    messages: dict[int, tuple[Message, Segment]] = field(default_factory=dict)
    returns: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of messages that came back: how often, and the time before which they wait, in milliseconds since 1970."""

    def settle(self, first: int, last: int) -> None:
        """Drop the messages at the positions ``first`` to ``last``."""
        self.next_position = max(self.next_position, last + 1)
        if last - first < len(self.messages):
            for position in range(first, last + 1):
                self.messages.pop(position, None)
                self.returns.pop(position, None)
        else:
            self.messages = {at: held for at, held in self.messages.items() if not first <= at <= last}
            self.returns = {at: held for at, held in self.returns.items() if not first <= at <= last}


class Replay:
    """The state that the records lead to. Replaying the same records gives the same state.

    The definitions in a checkpoint may be newer than its sequence, and those after it are taken in all the same, as
    ``broker.durability.slices`` says. So none of them may ask for what was there before.
    """

    def __init__(self) -> None:
        self.exchanges: dict[str, ExchangeDeclared] = {}
        self.queues: dict[int, ReplayedQueue] = {}
        self.bindings: dict[BindingKey, Bound] = {}
        self._bindings_of: dict[tuple[str, bool], dict[BindingKey, None]] = {}
        self.policies: dict[tuple[bool, str], PolicyPut] = {}
        self.seen: dict[int | str, dict[bytes, int]] = {}
        self.next_queue_number = 1

    def take_checkpoint(self, payload: bytes) -> None:
        """Begin with the definitions in a checkpoint."""
        snapshot = decode_snapshot(payload)
        self.next_queue_number = snapshot.next_queue_number
        for definition in snapshot.definitions:
            self._define(definition)
        for seen in snapshot.seen:
            self._remember(seen)

    def take_records(self, records: Iterable[tuple[int, int, bytes, Segment]]) -> None:
        """Take in records (kind, sequence, payload, segment) in their order."""
        queues = self.queues
        for kind, _, payload, segment in records:
            if kind in (_PUBLISH, _PUBLISH_TIMED):
                targets, message = decode_publish(payload, kind == _PUBLISH_TIMED)
                for number, position in targets:
                    queue = queues.get(number)
                    # A publish that was on its way when its queue was deleted has nowhere to go.
                    if queue is not None:
                        queue.messages[position] = (message, segment)
                        queue.next_position = max(queue.next_position, position + 1)
            elif kind == _SETTLE:
                number, delivered_position, ranges = decode_settle(payload)
                queue = queues.get(number)
                if queue is not None:
                    queue.delivered_position = max(queue.delivered_position, delivered_position)
                    for first, last in ranges:
                        queue.settle(first, last)
            elif kind == _RETURN:
                number, position, count, not_before_ms = decode_return(payload)
                queue = queues.get(number)
                if queue is not None and position in queue.messages:
                    queue.returns[position] = (count, not_before_ms)
            elif kind == _DEFINITION:
                self._define(decode(payload))
            elif kind == _SEEN:
                self._remember(decode_seen(payload))

    def _remember(self, seen: SeenKeys) -> None:
        known = self.seen.setdefault(seen.owner, {})
        for key, seen_at_ms in seen.keys:
            # In the order in which they were seen last, as deduplication forgets them.
            known.pop(key, None)
            known[key] = seen_at_ms

    def _define(self, definition: object) -> None:
        match definition:
            case ExchangeDeclared(name=name):
                self.exchanges[name] = definition
            case ExchangeDeleted(name=name):
                self.exchanges.pop(name, None)
                self.seen.pop(name, None)
                self._drop_bindings(name, is_exchange=True)
            case QueueDeclared(number=number):
                queue = self.queues.setdefault(number, ReplayedQueue(definition))
                queue.next_position = max(queue.next_position, definition.next_position)
                queue.delivered_position = max(queue.delivered_position, definition.delivered_position)
                self.next_queue_number = max(self.next_queue_number, number + 1)
            case QueueDeleted(name=name, number=number):
                self.queues.pop(number, None)
                self.seen.pop(number, None)
                self._drop_bindings(name, is_exchange=False)
            case Bound():
                key = _key(definition)
                self.bindings[key] = definition
                for end in _ends(key):
                    self._bindings_of.setdefault(end, {})[key] = None
            case Unbound():
                self._drop_binding(_key(definition))
            case PolicyPut(operator=operator, name=name):
                self.policies[operator, name] = definition
            case PolicyDeleted(operator=operator, name=name):
                self.policies.pop((operator, name), None)

    def _drop_bindings(self, name: str, *, is_exchange: bool) -> None:
        for key in list(self._bindings_of.get((name, is_exchange), ())):
            self._drop_binding(key)

    def _drop_binding(self, key: BindingKey) -> None:
        if self.bindings.pop(key, None) is None:
            return
        for end in set(_ends(key)):
            bindings = self._bindings_of[end]
            del bindings[key]
            if not bindings:
                del self._bindings_of[end]


def _key(binding: Bound | Unbound) -> BindingKey:
    return (binding.source, binding.destination, binding.to_exchange, binding.routing_key, binding.arguments)


def _ends(key: BindingKey) -> tuple[tuple[str, bool], tuple[str, bool]]:
    """Return what a binding goes with, as (name, whether it is an exchange)."""
    return (key[0], True), (key[1], key[2])
