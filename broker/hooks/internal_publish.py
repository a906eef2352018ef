"""Publishing what the broker itself has to say to one of its own exchanges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.logs import get_logger
from broker.publishing import publish_to_queues
from broker.queueing.message import Message
from broker.routing.address import SHORT_STRING_SIZE_MAX, encode_address
from protocol.amqp.properties import BasicProperties, encode_properties

log = get_logger("hooks")

PERSISTENT = 2

# Content headers cannot be split into frames, so that what the broker makes up has to stay below the frame size that
# clients agree to unless they want something special.
HEADER_SIZE_MAX_BYTES = 128 * 1024 - 8


def encode_header(properties: BasicProperties, body_size: int) -> bytes:
    """Return a content header; raises ``ValueError`` for one that does not fit into a frame."""
    header = encode_properties(properties, body_size)
    if len(header) > HEADER_SIZE_MAX_BYTES:
        raise ValueError(f"the header has {len(header)} octets")
    return header


def fit_routing_key(text: str) -> str:
    """Return a routing key, cut to the size that one can have."""
    encoded = text.encode("utf-8", "surrogateescape")
    return text if len(encoded) <= SHORT_STRING_SIZE_MAX else _cut(encoded)


def _cut(encoded: bytes) -> str:
    return encoded[:SHORT_STRING_SIZE_MAX].decode("utf-8", "surrogateescape")


def publish(vhost: Any, exchange: str, routing_key: str, header: bytes, body: bytes, *, persistent: bool) -> None:
    """Publish to an exchange of ``vhost``, at most once: what goes wrong is logged, and harms nobody else."""
    try:
        key = fit_routing_key(routing_key)
        # A journal that has failed would refuse it, again and again; whoever listens is told all the same.
        kept = persistent and not vhost.journal.journal.failed
        message = Message(encode_address(exchange, key), header, body, kept)
        queues = vhost.find_queues(vhost.exchanges[exchange], (key,), message)
        if queues:
            publish_to_queues(vhost, queues, message)
    except Exception:
        # Exchanges that extensions have brought may be bound here, and the journal may have failed.
        log.exception("message of the broker lost", vhost=vhost.name, exchange=exchange, routing_key=routing_key)


def present_properties(properties: BasicProperties) -> Mapping[str, Any]:
    """Return the properties that a message has, by their names."""
    names = BasicProperties.__dataclass_fields__
    return {name: value for name in names if (value := getattr(properties, name)) is not None}
