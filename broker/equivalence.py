"""Whether a redeclaration means the same as what is there, and RabbitMQ's words where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from protocol.amqp.erlang_term import format_term, format_text, format_type
from protocol.amqp.errors import AMQPError, precondition_failed

QUEUE_ARGUMENTS = (
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
)
"""The arguments that are compared, in this order; others may differ, as in RabbitMQ."""

OWN_ARGUMENTS = (
    "x-delivery-limit",
    "x-redelivery-delay",
    "x-redelivery-delay-multiplier",
    "x-redelivery-delay-max",
    "x-deduplication",
    "x-deduplication-window",
    "x-deduplication-count",
    "x-deduplication-header",
    "x-delayed",
    "x-group-header",
)
"""What is compared too, because it means something here on every queue."""

OWN_EXCHANGE_ARGUMENTS = (
    "x-delayed-type",
    "x-deduplication",
    "x-deduplication-window",
    "x-deduplication-count",
    "x-deduplication-header",
)
"""The same for exchanges, beside the alternate exchange."""

DEFAULT_QUEUE_TYPE = "classic"

_MISSING = object()


def inequivalent(key: str, resource: str, received: str, current: str) -> AMQPError:
    """Return the refusal of a redeclaration; ``resource`` is like ``queue 'q' in vhost '/'``."""
    return precondition_failed(f"inequivalent arg '{key}' for {resource}: received {received} but current is {current}")


def check_flag(key: str, resource: str, received: bool, current: bool) -> None:
    """Refuse a bit that differs."""
    if received != current:
        raise inequivalent(key, resource, f"'{str(received).lower()}'", f"'{str(current).lower()}'")


def check_argument(key: str, resource: str, received: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Refuse an argument that differs.

    As in RabbitMQ, the type makes no difference where the value is the same Erlang term: an integer has no width and
    may be a timestamp, and text may be binary. A float is never an integer.
    """
    missing = DEFAULT_QUEUE_TYPE if key == "x-queue-type" else _MISSING
    asked, known = received.get(key, missing), current.get(key, missing)
    if asked is _MISSING or known is _MISSING:
        if asked is not known:
            raise inequivalent(key, resource, _described(asked), _described(known))
    elif _term(asked) != _term(known):
        raise inequivalent(key, resource, _shown(asked), _shown(known))


def _term(value: Any) -> Any:
    """Return what is equal for two values if, and only if, Erlang has the same term for both."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, Mapping):
        return [(_term(name), format_type(item), _term(item)) for name, item in value.items()]
    if isinstance(value, list | tuple):
        return [(format_type(item), _term(item)) for item in value]
    if isinstance(value, Decimal):
        return value.as_tuple()  # 1.0 and 1.00 are two terms
    # Python takes True for 1 and 1 for 1.0.
    return next((kind for kind in (bool, int, float) if isinstance(value, kind)), None), value


def _described(value: Any) -> str:
    return "none" if value is _MISSING else f"the value '{_printed(value)}' of type '{format_type(value)}'"


def _shown(value: Any) -> str:
    # RabbitMQ has one term for a field without a value and for no field.
    return "none" if value is None else f"'{_printed(value)}'"


def _printed(value: Any) -> str:
    if isinstance(value, str):
        return value
    return format_text(value) if isinstance(value, bytes) else format_term(value)
