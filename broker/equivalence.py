"""Whether a redeclaration means the same as what is there, and RabbitMQ's words where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.amqp.erlang_term import format_type
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

DEFAULT_QUEUE_TYPE = "classic"


def inequivalent(key: str, resource: str, received: str, current: str) -> AMQPError:
    """Return the refusal of a redeclaration; ``resource`` is like ``queue 'q' in vhost '/'``."""
    return precondition_failed(f"inequivalent arg '{key}' for {resource}: received {received} but current is {current}")


def check_flag(key: str, resource: str, received: bool, current: bool) -> None:
    """Refuse a bit that differs."""
    if received != current:
        raise inequivalent(key, resource, f"'{str(received).lower()}'", f"'{str(current).lower()}'")


def check_argument(key: str, resource: str, received: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Refuse an argument that differs. The width of an integer makes no difference."""
    asked, known = received.get(key), current.get(key)
    if key == "x-queue-type":
        asked, known = asked or DEFAULT_QUEUE_TYPE, known or DEFAULT_QUEUE_TYPE
    if (key in current and key in received) or key == "x-queue-type":
        if asked != known or isinstance(asked, bool) != isinstance(known, bool):
            raise inequivalent(key, resource, f"'{_shown(asked)}'", f"'{_shown(known)}'")
    elif key in received:
        raise inequivalent(key, resource, _described(asked), "none")
    elif key in current:
        raise inequivalent(key, resource, "none", _described(known))


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _described(value: Any) -> str:
    return f"the value '{_shown(value)}' of type '{format_type(value)}'"
