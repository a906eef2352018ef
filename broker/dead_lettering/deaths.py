"""The history of a dead-lettered message as its headers tell it: ``x-death`` and the like.

Fields, order and merging are those of RabbitMQ (its ``rabbit_dead_letter``, ``mc`` and ``mc_amqpl``). Values that a
message brought along are never decoded: they keep their types however often it dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from broker.queueing.message import Message
from broker.routing.address import decode_address, encode_address
from protocol.amqp.field_table import ITEM_COUNT_WITH_OWN_MAX, decode_table
from protocol.amqp.header_fields import BCC, CC, expiration_of, find_traits, replace_fields, split_fields

# The routing keys of a message, where they are no longer those of its publish. Only the broker sets it, so it is also
# the proof that the x-death beside it was not made up by a client.
KEYS_FIELD = b"x-haypile-keys"
DEATH_FIELD = b"x-death"
# The exchange and the routing key of its publish.
ORIGIN_FIELD = b"x-haypile-origin"


@dataclass(frozen=True, slots=True)
class Death:
    """All deaths of a message in one queue for one reason."""

    queue: str
    reason: str
    exchange: str
    routing_keys: tuple[str, ...]
    time_s: int
    count: int = 1
    original_expiration: str | None = None


def encode_octets(text: str) -> bytes:
    """Return the octets of a name as it came."""
    return text.encode("utf-8", "surrogateescape")


def raw_text(text: str) -> bytes:
    """Return a raw field value: a long string."""
    octets = encode_octets(text)
    return b"S" + len(octets).to_bytes(4, "big") + octets


def raw_texts(texts: Sequence[str]) -> bytes:
    """Return a raw field value: an array of long strings."""
    content = b"".join([raw_text(text) for text in texts])
    return b"A" + len(content).to_bytes(4, "big") + content


def _field(name: bytes, raw: bytes) -> bytes:
    return bytes((len(name),)) + name + raw


def encode_death(death: Death) -> bytes:
    """Return an element of ``x-death`` as a raw field value."""
    parts = []
    if death.original_expiration is not None:
        parts.append(_field(b"original-expiration", raw_text(death.original_expiration)))
    parts += (
        _field(b"count", b"l" + death.count.to_bytes(8, "big")),
        _field(b"reason", raw_text(death.reason)),
        _field(b"queue", raw_text(death.queue)),
        _field(b"time", b"T" + death.time_s.to_bytes(8, "big")),
        _field(b"exchange", raw_text(death.exchange)),
        _field(b"routing-keys", raw_texts(death.routing_keys)),
    )
    content = b"".join(parts)
    return b"F" + len(content).to_bytes(4, "big") + content


def decode_value(raw: bytes) -> object:
    """Return a raw field value, decoded."""
    value: object = decode_table(b"\x01v" + raw, ITEM_COUNT_WITH_OWN_MAX)["v"]
    return value


def decode_deaths(fields: dict[bytes, bytes]) -> list[Death]:
    """Return the deaths that the broker has recorded in a message, the latest first."""
    if KEYS_FIELD not in fields or DEATH_FIELD not in fields:
        return []
    recorded = decode_value(fields[DEATH_FIELD])
    return [
        Death(
            queue=table["queue"],
            reason=table["reason"],
            exchange=table["exchange"],
            routing_keys=tuple(table["routing-keys"]),
            time_s=int(table["time"]),
            count=table["count"],
            original_expiration=table.get("original-expiration"),
        )
        for table in recorded  # type: ignore[attr-defined]
    ]


def _texts(fields: dict[bytes, bytes], name: bytes) -> list[str]:
    value = decode_value(fields[name]) if name in fields else ()
    return [text for text in value if isinstance(text, str)] if isinstance(value, list | tuple) else []


def routing_keys_of(message: Message, fields: dict[bytes, bytes] | None = None) -> list[str]:
    """Return all routing keys of a message: that of its publish, and those in its CC and BCC headers."""
    if fields is None:
        fields = split_fields(message.header)
    if KEYS_FIELD in fields:
        return _texts(fields, KEYS_FIELD)
    return [decode_address(message.address)[1], *_texts(fields, CC), *_texts(fields, BCC)]


def origin_of(fields: dict[bytes, bytes]) -> tuple[str, str]:
    """Return the exchange and the routing key that a dead letter was published with."""
    exchange, routing_key = _texts(fields, ORIGIN_FIELD)
    return exchange, routing_key


def record_death(
    message: Message,
    *,
    queue: str,
    reason: str,
    now_ms: int,
    exchange: str,
    routing_key: str | None,
) -> tuple[Message, list[str], list[Death]]:
    """Return the message that is published to the dead-letter exchange, its routing keys, and its deaths.

    ``exchange`` and ``routing_key`` are where it goes; without a routing key it keeps those that it had.
    """
    fields = split_fields(message.header)
    died_in_exchange = decode_address(message.address)[0]
    keys = routing_keys_of(message, fields)
    hidden_keys = _texts(fields, BCC)
    shown_keys = list(keys)
    for key in hidden_keys:
        if key in shown_keys:
            shown_keys.remove(key)
    expiration = expiration_of(message.header)
    deaths = decode_deaths(fields)
    known = next((death for death in deaths if death.queue == queue and death.reason == reason), None)
    if known is not None:
        deaths.remove(known)
        latest = replace(known, count=known.count + 1)
    else:
        latest = Death(
            queue=queue,
            reason=reason,
            exchange=died_in_exchange,
            routing_keys=tuple(shown_keys),
            time_s=now_ms // 1000,
            original_expiration=str(expiration) if expiration >= 0 else None,
        )
    first = not deaths and known is None
    deaths.insert(0, latest)
    content = b"".join([encode_death(death) for death in deaths])
    fields[DEATH_FIELD] = b"A" + len(content).to_bytes(4, "big") + content
    for name, value in (("reason", reason), ("queue", queue), ("exchange", died_in_exchange)):
        if first:
            fields[b"x-first-death-" + name.encode()] = raw_text(value)
        fields[b"x-last-death-" + name.encode()] = raw_text(value)
    if routing_key is not None:
        keys = [routing_key]
    fields[KEYS_FIELD] = raw_texts(keys)
    if ORIGIN_FIELD not in fields:
        fields[ORIGIN_FIELD] = raw_texts(decode_address(message.address))
    header = replace_fields(message.header, dict(sorted(fields.items())), keep_expiration=False)
    address = encode_address(exchange, keys[0])
    dead = Message(address, header, message.body, message.persistent, find_traits(header))
    return dead, keys, deaths


def is_cycle(target: str, deaths: list[Death]) -> bool:
    """Return whether a message that goes to the queue ``target`` would go in circles without a client's doing.

    It would if it died there before, and nobody has rejected it since.
    """
    for death in deaths:
        if death.reason == "rejected":
            return False
        if death.queue == target:
            return True
    return False
