"""From a journal's records to the state of a virtual host: which definitions stand, and which messages are left."""

from __future__ import annotations

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
from broker.durability.message_replay import MessageReplay, ReplayedQueue
from broker.durability.queue_log import RECORD_KINDS
from protocol.amqp.field_table import encode_table

_SEEN = RECORD_KINDS["seen"]
_DEFINITION = RECORD_KINDS["definition"]


BindingKey = tuple[str, str, bool, str, bytes]
"""Source, destination, whether that is an exchange, routing key, and arguments."""
RECOVERED_PREFIX = "haypile.recovered."
"""What the names of queues begin with whose declaration is lost; their number in the journal follows."""


class Replay:
    """The state that the records lead to. Replaying the same records gives the same state.

    The definitions in a checkpoint may be newer than its sequence, and those after it are taken in all the same, as
    ``broker.durability.slices`` says. So none of them may ask for what was there before.

    Damage may have cost the declaration of a queue, and left its messages. Queues are numbered without a gap, so a
    number that was left out is that of such a queue. It is made up then, and listed in ``recovered``.
    """

    def __init__(self) -> None:
        self.exchanges: dict[str, ExchangeDeclared] = {}
        self.messages = MessageReplay(self)
        self.queues = self.messages.queues
        self.bindings: dict[BindingKey, Bound] = {}
        self._bindings_of: dict[tuple[str, bool], dict[BindingKey, None]] = {}
        self.policies: dict[tuple[bool, str], PolicyPut] = {}
        self.seen: dict[int | str, dict[bytes, int]] = {}
        self.next_queue_number = 1
        self.recovered: list[int] = []
        self._numbers: dict[str, int] = {}
        self._left_out: list[range] = []
        self._deleted: set[int] = set()

    def take_checkpoint(self, payload: bytes) -> None:
        """Begin with the definitions in a checkpoint."""
        snapshot = decode_snapshot(payload)
        # Queues that are left out here were deleted.
        self.next_queue_number = snapshot.next_queue_number
        for definition in snapshot.definitions:
            self._define(definition)
        for seen in snapshot.seen:
            self._remember(seen)

    def take_state(self, kind: int, payload: bytes) -> None:
        """Take in a record of state."""
        if kind == _DEFINITION:
            self._define(decode(payload))
        elif kind == _SEEN:
            self._remember(decode_seen(payload))

    def recover_queue(self, number: int) -> ReplayedQueue | None:
        """Make up a queue whose declaration is lost; return None for one that was deleted."""
        self._leave_out_up_to(number + 1)
        if number in self._deleted or not any(number in numbers for numbers in self._left_out):
            return None
        self.recovered.append(number)
        declared = QueueDeclared(f"{RECOVERED_PREFIX}{number}", number, False, encode_table({}), 1, 0)
        queue = self.queues[number] = ReplayedQueue(declared)
        self._numbers[declared.name] = number
        return queue

    def _leave_out_up_to(self, number: int) -> None:
        if number > self.next_queue_number:
            self._left_out.append(range(self.next_queue_number, number))
            self.next_queue_number = number

    def _declare_queue(self, declared: QueueDeclared) -> None:
        number = declared.number
        self._leave_out_up_to(number)
        self.next_queue_number = max(self.next_queue_number, number + 1)
        before = self._numbers.get(declared.name)
        if before is not None and before != number:
            # That its predecessor of the same name was deleted stood in what is lost.
            self._delete_queue(before)
        self._numbers[declared.name] = number
        # It may have been declared in a checkpoint, or made up here and declared so at an earlier start.
        queue = self.queues.setdefault(number, ReplayedQueue(declared))
        queue.definition = declared
        queue.next_position = max(queue.next_position, declared.next_position)
        queue.delivered_position = max(queue.delivered_position, declared.delivered_position)
        if number in self.recovered:
            self.recovered.remove(number)

    def _delete_queue(self, number: int) -> None:
        self.messages.forget_queue(number)
        self.seen.pop(number, None)
        if number in self.recovered:
            self.recovered.remove(number)
        if any(number in numbers for numbers in self._left_out):
            self._deleted.add(number)

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
            case QueueDeclared():
                self._declare_queue(definition)
            case QueueDeleted(name=name, number=number):
                self._delete_queue(number)
                if self._numbers.get(name) == number:
                    del self._numbers[name]
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
