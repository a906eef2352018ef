"""Which arguments of queue.declare mean something, and which values they may have; the words are RabbitMQ's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocol.amqp.erlang_term import format_type
from protocol.amqp.errors import not_implemented, precondition_failed

EXPIRY_MAX_MS = 315_360_000_000
PRIORITY_MAX = 255
OVERFLOWS = ("drop-head", "reject-publish", "reject-publish-dlx")
QUEUE_TYPES = ("classic", "quorum")
LEADER_LOCATORS = ("client-local", "balanced", "random", "least-leaders", "min-masters")


class InvalidArgumentError(ValueError):
    """A value that an argument cannot have."""


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or format_type(value) == "timestamp":
        raise InvalidArgumentError(f'"expected integer, got {format_type(value)}"')
    return value


def _not_negative(value: Any, _: Mapping[str, Any]) -> None:
    if _integer(value) < 0:
        raise InvalidArgumentError(f"{{value_negative,{value}}}")


def _milliseconds(value: Any, arguments: Mapping[str, Any]) -> None:
    _not_negative(value, arguments)
    if value > EXPIRY_MAX_MS:
        raise InvalidArgumentError(f"{{value_too_large,{value}}}")


def _expires(value: Any, arguments: Mapping[str, Any]) -> None:
    if _integer(value) == 0:
        raise InvalidArgumentError("{value_zero,0}")
    _milliseconds(value, arguments)


def _priority(value: Any, arguments: Mapping[str, Any]) -> None:
    _not_negative(value, arguments)
    if value > PRIORITY_MAX:
        raise InvalidArgumentError(f"{{max_value_exceeded,{value}}}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{{unacceptable_type,{format_type(value)}}}")
    return value


def _dead_letter_routing_key(value: Any, arguments: Mapping[str, Any]) -> None:
    _text(value)
    if "x-dead-letter-exchange" not in arguments:
        raise InvalidArgumentError("routing_key_but_no_dlx_defined")


def _overflow(value: Any, _: Mapping[str, Any]) -> None:
    if _text(value) not in OVERFLOWS:
        raise InvalidArgumentError("invalid_overflow")


def _queue_version(value: Any, _: Mapping[str, Any]) -> None:
    if _integer(value) not in (1, 2):
        raise InvalidArgumentError(f"\"unsupported queue version '{value}'\"")


def _queue_mode(value: Any, _: Mapping[str, Any]) -> None:
    if _text(value) not in ("default", "lazy"):
        raise InvalidArgumentError(f"\"unsupported queue mode '{value}'\"")


def _queue_type(value: Any, _: Mapping[str, Any]) -> None:
    if _text(value) == "stream":
        raise not_implemented("queue type 'stream' is not supported by this broker")
    if value not in QUEUE_TYPES:
        raise InvalidArgumentError(f"\"unsupported queue type '{value}'\"")


def _flag(value: Any, _: Mapping[str, Any]) -> None:
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"{{unacceptable_type,{format_type(value)}}}")


def _leader_locator(value: Any, _: Mapping[str, Any]) -> None:
    if _text(value) not in LEADER_LOCATORS:
        raise InvalidArgumentError("invalid_queue_locator_arg")


VALIDATORS: dict[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "x-queue-type": _queue_type,
    "x-expires": _expires,
    "x-message-ttl": _milliseconds,
    "x-dead-letter-routing-key": _dead_letter_routing_key,
    "x-max-length": _not_negative,
    "x-max-length-bytes": _not_negative,
    "x-max-priority": _priority,
    "x-overflow": _overflow,
    "x-queue-version": _queue_version,
    "x-queue-mode": _queue_mode,
    "x-single-active-consumer": _flag,
    "x-queue-leader-locator": _leader_locator,
    "x-delivery-limit": _not_negative,
    "x-consumer-timeout": _not_negative,
    "x-redelivery-timeout": _not_negative,
}
"""Checks by argument, in the order in which RabbitMQ applies them. Other arguments are accepted as they are."""

OTHER_QUEUE_TYPES_ARGUMENTS = (
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-quorum-initial-group-size",
)


def check_queue_arguments(arguments: Mapping[str, Any], resource: str) -> None:
    """Raise ``ChannelException`` (PRECONDITION_FAILED) for an argument that a new queue cannot have.

    ``resource`` is like ``queue 'q' in vhost '/'``.
    """
    dead_letter_exchange = arguments.get("x-dead-letter-exchange", "")
    if not isinstance(dead_letter_exchange, str):
        kind = format_type(dead_letter_exchange)
        raise precondition_failed(f"invalid type '{kind}' for arg 'x-dead-letter-exchange' in {resource}")
    for name in OTHER_QUEUE_TYPES_ARGUMENTS:
        if name in arguments and arguments.get("x-queue-type", "classic") == "classic":
            raise precondition_failed(f"invalid arg '{name}' for {resource} of queue type rabbit_classic_queue")
    for name, check in VALIDATORS.items():
        if name in arguments:
            try:
                check(arguments[name], arguments)
            except InvalidArgumentError as error:
                raise precondition_failed(f"invalid arg '{name}' for {resource}: {error}") from None
