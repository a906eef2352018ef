"""The consistent hash exchange: messages with one key go to one destination, and keys are spread by weights."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from broker.routing.erlang_hash import HASHES, hash_binary, jump_consistent_hash
from broker.routing.exchange import Binding, Destination
from broker.routing.exchange_type import ExchangeType, InvalidDefinitionError
from broker.routing.field_value import identity
from broker.routing.message_view import MessageView
from protocol.amqp.erlang_term import format_term, format_type
from protocol.amqp.field_table import Timestamp

HASH_HEADER = "hash-header"
HASH_PROPERTY = "hash-property"
PROPERTIES = ("correlation_id", "message_id", "timestamp")

WEIGHT_MAX = 10_000
"""The most buckets that one binding can have; RabbitMQ has the same limit."""

BUCKETS_MAX = 1_000_000
"""The most buckets that the bindings of one exchange can have together."""

_INTEGER = re.compile(r"[+-]?[0-9]+")


class ConsistentHashExchangeType(ExchangeType):
    """Routes each message to one destination, chosen by a hash of its first routing key, of a header or a property.

    Each destination has as many buckets as its oldest binding's key says, in the order in which the bindings were
    made. Hashes are mapped to buckets so that few keys move when a destination comes or goes. Messages without the
    header or property have one key in common.
    """

    name = "x-consistent-hash"

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__(arguments)
        self._key_of = _key_reader(arguments)
        self.depends_on_message = self._key_of is not None
        self._weights: dict[Destination, dict[Binding, int]] = {}
        self._bucket_count = 0
        self._ring: tuple[list[Destination], list[int]] | None = None

    def validate_binding(self, binding: Binding) -> None:
        """Refuse a binding key that is no weight, and more buckets than there may be."""
        weight = _weight(binding)
        if binding in self._weights.get(binding.destination, ()):
            return
        if self._bucket_count + weight > BUCKETS_MAX:
            raise InvalidDefinitionError(
                f"The binding keys of an exchange must not exceed {BUCKETS_MAX} in total: "
                f"there are {self._bucket_count}, and {weight} more were asked for"
            )

    def bind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        weight = _weight(binding)
        self._weights.setdefault(binding.destination, {})[binding] = weight
        self._bucket_count += weight
        self._ring = None

    def unbind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        weights = self._weights[binding.destination]
        self._bucket_count -= weights.pop(binding)
        if not weights:
            del self._weights[binding.destination]
        self._ring = None

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:
        """See ``ExchangeType``."""
        if not self._weights:
            return ()
        if self._ring is None:
            self._ring = self._make_ring()
        destinations, ends = self._ring
        key = routing_keys[0] if self._key_of is None else self._key_of(message)
        bucket = jump_consistent_hash(_number(key), ends[-1])
        return (destinations[bisect_right(ends, bucket)],)

    def _make_ring(self) -> tuple[list[Destination], list[int]]:
        """Return the destinations, and the first bucket behind those of each."""
        oldest = (next(iter(weights.values())) for weights in self._weights.values())
        return list(self._weights), list(accumulate(oldest))


def _key_reader(arguments: Mapping[str, object]) -> Callable[[MessageView], object] | None:
    """Return what reads the key out of a message, or None where the routing key is the key."""
    header, attribute = _text(arguments, HASH_HEADER), _text(arguments, HASH_PROPERTY)
    if attribute is not None:
        if header is not None:
            raise InvalidDefinitionError(f"{HASH_HEADER} and {HASH_PROPERTY} are mutually exclusive")
        if attribute not in PROPERTIES:
            raise InvalidDefinitionError(f"Unsupported property: {attribute}")
        return lambda message: _property(message, attribute)
    if header is not None:
        return lambda message: message.headers.get(header)
    return None


def _property(message: MessageView, attribute: str) -> object:
    value = getattr(message.properties, attribute)
    return str(int(value)) if isinstance(value, Timestamp) else value


def _number(key: object) -> int:
    """Return what RabbitMQ makes of a key; only of lists, tables, floats and decimals it makes something else."""
    if isinstance(key, str):
        return hash_binary(key.encode("utf-8", "surrogateescape"))
    if isinstance(key, bytes):
        return hash_binary(key)
    if key is None or isinstance(key, bool):
        return HASHES[key]
    if isinstance(key, Timestamp):
        return key * 1000
    if isinstance(key, int):
        return key
    return hash_binary(repr(identity(key)).encode("utf-8", "surrogateescape"))


def _text(arguments: Mapping[str, object], name: str) -> str | None:
    value = arguments.get(name)
    if name in arguments and not isinstance(value, str):
        raise InvalidDefinitionError(f"{name} must be of type longstr, not {format_type(value)}")
    return value if isinstance(value, str) else None


def _weight(binding: Binding) -> int:
    key = binding.routing_key
    if _INTEGER.fullmatch(key) is None:
        octets = key.encode("utf-8", "surrogateescape")
        raise InvalidDefinitionError(f"The binding key must be an integer: {format_term(octets)}")
    weight = int(key)
    if weight < 1:
        raise InvalidDefinitionError("The binding key must be greater than 0")
    if weight > WEIGHT_MAX:
        raise InvalidDefinitionError(f"The binding key must not exceed {WEIGHT_MAX}")
    return weight
