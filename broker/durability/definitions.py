"""The definitions of a virtual host as the journal keeps them: what is declared, bound or put, and what is removed.

Each is a MessagePack array that begins with its kind. Arguments are kept as the octets of their field table, so that
every type survives.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from broker.policy import Policy


class Definition(msgspec.Struct, frozen=True, array_like=True):
    """A change of what a virtual host consists of."""


class ExchangeDeclared(Definition, frozen=True, array_like=True, tag_field="kind", tag="exchange"):
    """A durable exchange was declared."""

    name: str
    type: str
    auto_delete: bool
    internal: bool
    arguments: bytes


class ExchangeDeleted(Definition, frozen=True, array_like=True, tag_field="kind", tag="-exchange"):
    """A durable exchange was deleted, with all its bindings."""

    name: str


class QueueDeclared(Definition, frozen=True, array_like=True, tag_field="kind", tag="queue"):
    """A durable queue was declared. No message of it has a position below ``next_position`` from here on."""

    name: str
    number: int
    auto_delete: bool
    arguments: bytes
    next_position: int
    delivered_position: int


class QueueDeleted(Definition, frozen=True, array_like=True, tag_field="kind", tag="-queue"):
    """A durable queue was deleted, with its messages and all its bindings."""

    name: str
    number: int


class Bound(Definition, frozen=True, array_like=True, tag_field="kind", tag="binding"):
    """A durable exchange was bound to a durable queue, or (``to_exchange``) to another durable exchange."""

    source: str
    destination: str
    to_exchange: bool
    routing_key: str
    arguments: bytes


class Unbound(Definition, frozen=True, array_like=True, tag_field="kind", tag="-binding"):
    """A binding was removed."""

    source: str
    destination: str
    to_exchange: bool
    routing_key: str
    arguments: bytes


class PolicyPut(Definition, frozen=True, array_like=True, tag_field="kind", tag="policy"):
    """A policy, or (``operator``) an operator policy, was added, or took the place of the one of that name."""

    operator: bool
    name: str
    pattern: str
    apply_to: str
    priority: int | float
    definition: Mapping[str, Any]

    @classmethod
    def of(cls, policy: Policy, *, operator: bool) -> PolicyPut:
        """Return the definition for a policy."""
        return cls(operator, policy.name, policy.pattern, policy.apply_to, policy.priority, policy.definition)

    def policy(self) -> Policy:
        """Return the policy."""
        return Policy(self.name, self.pattern, self.definition, self.priority, self.apply_to)


class PolicyDeleted(Definition, frozen=True, array_like=True, tag_field="kind", tag="-policy"):
    """A policy, or (``operator``) an operator policy, was removed."""

    operator: bool
    name: str


AnyDefinition = (
    ExchangeDeclared | ExchangeDeleted | QueueDeclared | QueueDeleted | Bound | Unbound | PolicyPut | PolicyDeleted
)

_ARRAY_OF_THREE = b"\x93"
_ARRAY = struct.Struct(">BI")
_ARRAY_TAG = 0xDD

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyDefinition)


class SeenKeys(msgspec.Struct, frozen=True, array_like=True):
    """Keys of messages that must not come twice, with the times when they were seen, in milliseconds since 1970.

    They belong to the durable queue with the number, or to the durable exchange with the name, ``owner``.
    """

    owner: int | str
    keys: Sequence[tuple[bytes, int]]


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """All definitions, the number that the next queue gets, and the keys that deduplication knows."""

    next_queue_number: int
    definitions: Sequence[AnyDefinition]
    seen: Sequence[SeenKeys] = ()


_seen_decoder = msgspec.msgpack.Decoder(SeenKeys)
_snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)


def encode(definition: Definition | SeenKeys | Snapshot) -> bytes:
    """Return the octets of a definition, of keys, or of a snapshot."""
    return _encoder.encode(definition)


def encode_snapshot_head(next_queue_number: int) -> bytes:
    """Return how a snapshot begins; its two arrays follow, each with its head."""
    return _ARRAY_OF_THREE + _encoder.encode(next_queue_number)


def encode_array_head(count: int) -> bytes:
    """Return how an array begins that has so many members."""
    return _ARRAY.pack(_ARRAY_TAG, count)


def decode(payload: bytes) -> AnyDefinition:
    """Return the definition in a record. Raises ``msgspec.ValidationError`` for anything else."""
    definition: AnyDefinition = _decoder.decode(payload)
    return definition


def decode_seen(payload: bytes) -> SeenKeys:
    """Return the keys in a record. Raises ``msgspec.ValidationError`` for anything else."""
    return _seen_decoder.decode(payload)


def decode_snapshot(payload: bytes) -> Snapshot:
    """Return the definitions in a checkpoint. Raises ``msgspec.ValidationError`` for anything else."""
    return _snapshot_decoder.decode(payload)
