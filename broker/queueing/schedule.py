"""Delayed messages: what their headers ask for."""

from __future__ import annotations

from typing import Any

from broker.queueing.message import Message
from protocol.amqp.field_table import Timestamp, decode_value
from protocol.amqp.header_fields import find_field

DELAY_HEADER = b"x-delay"
DELIVER_AT_HEADER = b"x-deliver-at"
DELAY_MAX_MS = 10 * 365 * 24 * 60 * 60 * 1000


def header_value(message: Message, name: bytes) -> Any:
    """Return the value of a header, None if it is not there."""
    raw = find_field(message.header, name)
    return None if raw is None else decode_value(raw)


def requested_delay_ms(message: Message) -> int:
    """Return the delay that a message asks for with ``x-delay``, 0 if it asks for none that makes sense."""
    delay = header_value(message, DELAY_HEADER)
    if isinstance(delay, str):
        delay = int(delay) if delay.isascii() and delay.isdigit() and len(delay) <= len(str(DELAY_MAX_MS)) else 0
    if isinstance(delay, float) and 0 < delay <= DELAY_MAX_MS:
        delay = int(delay)
    if isinstance(delay, bool) or not isinstance(delay, int):
        return 0
    return min(max(delay, 0), DELAY_MAX_MS)


def requested_delivery_ms(message: Message) -> int:
    """Return the time before which a message wants not to be delivered, in milliseconds since 1970; 0 for none.

    ``x-deliver-at`` is an absolute time, in milliseconds or as a timestamp; ``x-delay`` counts from the publish.
    Where both are there, the later one holds.
    """
    at = header_value(message, DELIVER_AT_HEADER)
    absolute = 0
    if isinstance(at, Timestamp):
        absolute = int(at) * 1000
    elif isinstance(at, int) and not isinstance(at, bool):
        absolute = at
    absolute = min(max(absolute, 0), message.published_at_ms + DELAY_MAX_MS)
    delay = requested_delay_ms(message)
    return max(absolute, message.published_at_ms + delay if delay else 0)
