"""The history of a dead-lettered message as its headers tell it: ``x-death`` and the like.

Fields, order and merging are those of RabbitMQ (its ``rabbit_dead_letter``, ``mc`` and ``mc_amqpl``). Values that a
message brought along are never decoded: they keep their types however often it dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from broker.queueing.message import Message
from broker.routing.address import decode_address, encode_address
from protocol.amqp.field_table import ByteString, FieldValue, Longlong, Timestamp, decode_value, encode_value
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


def encode_deaths(deaths: Sequence[Death]) -> bytes:
    """Return ``x-death`` as a raw field value."""
    entries = []
    for death in deaths:
        expiration = death.original_expiration
        entries.append(
            {
                **({} if expiration is None else {"original-expiration": expiration}),
                "count": Longlong(death.count),
                "reason": death.reason,
                "queue": death.queue,
                "time": Timestamp(death.time_s),
                "exchange": death.exchange,
                "routing-keys": death.routing_keys,
            }
        )
    return encode_value(entries)


def decode_deaths(fields: dict[bytes, bytes]) -> list[Death]:
    """Return the deaths that the broker has recorded in a message, the latest first."""
    if KEYS_FIELD not in fields or DEATH_FIELD not in fields:
        return []
    return [
        Death(
            queue=table["queue"],
            reason=table["reason"],
            exchange=table["exchange"],
            routing_keys=tuple(_texts(table["routing-keys"])),
            time_s=int(table["time"]),
            count=table["count"],
            original_expiration=table.get("original-expiration"),
        )
        for table in decode_value(fields[DEATH_FIELD])
    ]


def _texts(values: Sequence[FieldValue]) -> list[str]:
    """Return the texts among values, those too that are not UTF-8: routing keys can be any octets."""
    return [
        value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
        for value in values
        if isinstance(value, str | ByteString)
    ]


def _texts_in(fields: dict[bytes, bytes], name: bytes) -> list[str]:
    value = decode_value(fields[name]) if name in fields else ()
    return _texts(value) if isinstance(value, list | tuple) else []


def routing_keys_of(message: Message, fields: dict[bytes, bytes] | None = None) -> list[str]:
    """Return all routing keys of a message: that of its publish, and those in its CC and BCC headers."""
    if fields is None:
        fields = split_fields(message.header)
    if KEYS_FIELD in fields:
        return _texts_in(fields, KEYS_FIELD)
    return [decode_address(message.address)[1], *_texts_in(fields, CC), *_texts_in(fields, BCC)]


def origin_of(fields: dict[bytes, bytes]) -> tuple[str, str]:
    """Return the exchange and the routing key that a dead letter was published with."""
    exchange, routing_key = _texts_in(fields, ORIGIN_FIELD)
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
    hidden_keys = _texts_in(fields, BCC)
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
    fields[DEATH_FIELD] = encode_deaths(deaths)
    for name, value in (("reason", reason), ("queue", queue), ("exchange", died_in_exchange)):
        if first:
            fields[b"x-first-death-" + name.encode()] = encode_value(value)
        fields[b"x-last-death-" + name.encode()] = encode_value(value)
    if routing_key is not None:
        keys = [routing_key]
    fields[KEYS_FIELD] = encode_value(keys)
    if ORIGIN_FIELD not in fields:
        fields[ORIGIN_FIELD] = encode_value(decode_address(message.address))
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
