"""Messages as publishers send them, for tests without a broker."""

from collections.abc import Mapping
from typing import Any

from broker.queueing.message import Message
from broker.routing.address import encode_address
from protocol.amqp.properties import BasicProperties, encode_properties


def published(
    body: bytes = b"",
    exchange: str = "x",
    routing_key: str = "",
    headers: Mapping[str, Any] | None = None,
    **properties: Any,
) -> Message:
    """A message with these properties."""
    header = encode_properties(BasicProperties(headers=headers, **properties), len(body))
    return Message(encode_address(exchange, routing_key), header, body, properties.get("delivery_mode") == 2)
