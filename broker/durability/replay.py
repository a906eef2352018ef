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
    """The state that the records lead to. Replaying the same records gives the same state."""

    def __init__(self) -> None:
        self.exchanges: dict[str, ExchangeDeclared] = {}
        self.queues: dict[int, ReplayedQueue] = {}
        self.bindings: dict[tuple[str, str, bool, str, bytes], Bound] = {}
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
                self._drop_bindings(name, to_exchange=True)
                for key in [key for key in self.bindings if key[0] == name]:
                    del self.bindings[key]
            case QueueDeclared(number=number):
                self.queues[number] = ReplayedQueue(definition, definition.next_position, definition.delivered_position)
                self.next_queue_number = max(self.next_queue_number, number + 1)
            case QueueDeleted(name=name, number=number):
                self.queues.pop(number, None)
                self.seen.pop(number, None)
                self._drop_bindings(name, to_exchange=False)
            case Bound():
                self.bindings[_key(definition)] = definition
            case Unbound():
                self.bindings.pop(_key(definition), None)
            case PolicyPut(operator=operator, name=name):
                self.policies[operator, name] = definition
            case PolicyDeleted(operator=operator, name=name):
                self.policies.pop((operator, name), None)

    def _drop_bindings(self, destination: str, *, to_exchange: bool) -> None:
        for key in [key for key in self.bindings if key[1] == destination and key[2] == to_exchange]:
            del self.bindings[key]


def _key(binding: Bound | Unbound) -> tuple[str, str, bool, str, bytes]:
    return (binding.source, binding.destination, binding.to_exchange, binding.routing_key, binding.arguments)
