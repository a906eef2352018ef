"""Which arguments of queue.declare mean something, and which values they may have; the words are RabbitMQ's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from broker.policy import values
from broker.policy.settings import SETTINGS
from broker.policy.values import InvalidValueError
from protocol.amqp.erlang_term import format_type
from protocol.amqp.errors import AMQPError, not_implemented, precondition_failed

QUEUE_TYPES = ("classic", "quorum")

OWN_PREFIX = "x-haypile-"
"""Arguments that begin so are the broker's own: clients cannot give them."""


def invalid_argument(name: str, resource: str, problem: object) -> AMQPError:
    """Return the refusal of an argument; ``resource`` is like ``queue 'q' in vhost '/'``."""
    return precondition_failed(f"invalid arg '{name}' for {resource}: {problem}")


def _queue_type(value: Any) -> None:
    if values.text(value) == "stream":
        raise not_implemented("queue type 'stream' is not supported by this broker")
    if value not in QUEUE_TYPES:
        raise InvalidValueError(f"\"unsupported queue type '{value}'\"")


VALIDATORS: Mapping[str, values.Check] = {
    "x-queue-type": _queue_type,
    "x-expires": SETTINGS["expires"].check,
    "x-message-ttl": SETTINGS["message-ttl"].check,
    "x-dead-letter-routing-key": values.short_text,
    "x-max-length": SETTINGS["max-length"].check,
    "x-max-length-bytes": SETTINGS["max-length-bytes"].check,
    "x-max-priority": SETTINGS["max-priority"].check,
    "x-overflow": SETTINGS["overflow"].check,
    "x-queue-version": SETTINGS["queue-version"].check,
    "x-queue-mode": SETTINGS["queue-mode"].check,
    "x-single-active-consumer": values.flag,
    "x-queue-leader-locator": values.leader_locator,
    "x-delivery-limit": SETTINGS["delivery-limit"].check,
    "x-consumer-timeout": SETTINGS["consumer-timeout"].check,
    "x-redelivery-timeout": values.not_negative,
    "x-redelivery-delay": SETTINGS["redelivery-delay"].check,
    "x-redelivery-delay-multiplier": SETTINGS["redelivery-delay-multiplier"].check,
    "x-redelivery-delay-max": SETTINGS["redelivery-delay-max"].check,
    "x-deduplication": SETTINGS["deduplication"].check,
    "x-deduplication-window": SETTINGS["deduplication-window"].check,
    "x-deduplication-count": SETTINGS["deduplication-count"].check,
    "x-deduplication-header": SETTINGS["deduplication-header"].check,
    "x-delayed": SETTINGS["delayed"].check,
    "x-group-header": SETTINGS["group-header"].check,
}
"""Checks by argument, in the order in which RabbitMQ applies them. Other arguments are accepted as they are."""


def _needs_dead_letter_exchange(arguments: Mapping[str, Any]) -> None:
    if "x-dead-letter-exchange" not in arguments:
        raise InvalidValueError("routing_key_but_no_dlx_defined")


def _not_below_first_delay(arguments: Mapping[str, Any]) -> None:
    most = arguments["x-redelivery-delay-max"]
    if most < arguments.get("x-redelivery-delay", 0):
        raise InvalidValueError(f"{{value_too_small,{most}}}")


REQUIREMENTS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "x-dead-letter-routing-key": _needs_dead_letter_exchange,
    "x-redelivery-delay-max": _not_below_first_delay,
}
"""What an argument that is valid by itself demands of the others."""

UNSUPPORTED_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "classic": (
        "x-max-age",
        "x-stream-max-segment-size-bytes",
        "x-stream-filter-size-bytes",
        "x-initial-cluster-size",
        "x-quorum-initial-group-size",
    ),
    "quorum": (
        "x-max-priority",
        "x-queue-mode",
        "x-queue-version",
        "x-queue-master-locator",
        "x-max-age",
        "x-stream-max-segment-size-bytes",
        "x-stream-filter-size-bytes",
        "x-initial-cluster-size",
    ),
}
"""Arguments that only other queue types of RabbitMQ have. Its classic queues lack more; here they have it."""


def queue_type(arguments: Mapping[str, Any]) -> str:
    """Return the type that a queue was declared with; the type makes a difference only where clients can see it."""
    kind: str = arguments.get("x-queue-type") or "classic"
    return kind


def check_queue_arguments(arguments: Mapping[str, Any], resource: str) -> None:
    """Raise ``ChannelException`` (PRECONDITION_FAILED) for an argument that a new queue cannot have.

    ``resource`` is like ``queue 'q' in vhost '/'``.
    """
    if not arguments:
        return
    dead_letter_exchange = arguments.get("x-dead-letter-exchange", "")
    if not isinstance(dead_letter_exchange, str):
        received = format_type(dead_letter_exchange)
        raise precondition_failed(f"invalid type '{received}' for arg 'x-dead-letter-exchange' in {resource}")
    unsupported: tuple[str, ...] = ()
    for name, check in VALIDATORS.items():
        if name in arguments and name not in unsupported:
            try:
                check(arguments[name])
                if name in REQUIREMENTS:
                    REQUIREMENTS[name](arguments)
            except InvalidValueError as error:
                raise invalid_argument(name, resource, error) from None
        if name == "x-queue-type":
            unsupported = UNSUPPORTED_ARGUMENTS[queue_type(arguments)]
    for name in unsupported:
        if name in arguments:
            kind = queue_type(arguments)
            raise precondition_failed(f"invalid arg '{name}' for {resource} of queue type rabbit_{kind}_queue")


def check_queue_properties(kind: str, resource: str, *, durable: bool, auto_delete: bool, exclusive: bool) -> None:
    """Refuse what RabbitMQ's quorum queues cannot be; other types can be anything."""
    if kind == "quorum":
        for name, refused in (
            ("auto-delete", auto_delete),
            ("exclusive-owner", exclusive),
            ("non-durable", not durable),
        ):
            if refused:
                raise precondition_failed(f"invalid property '{name}' for {resource}")
