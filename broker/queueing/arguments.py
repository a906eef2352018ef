"""Which arguments of queue.declare mean something, and which values they may have; the words are RabbitMQ's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from broker.policy import values
from broker.policy.settings import SETTINGS
from broker.policy.values import InvalidValueError
from protocol.amqp.erlang_term import format_type
from protocol.amqp.errors import not_implemented, precondition_failed

QUEUE_TYPES = ("classic", "quorum")


def _queue_type(value: Any) -> None:
    if values.text(value) == "stream":
        raise not_implemented("queue type 'stream' is not supported by this broker")
    if value not in QUEUE_TYPES:
        raise InvalidValueError(f"\"unsupported queue type '{value}'\"")


VALIDATORS: Mapping[str, values.Check] = {
    "x-queue-type": _queue_type,
    "x-expires": SETTINGS["expires"].check,
    "x-message-ttl": SETTINGS["message-ttl"].check,
    "x-dead-letter-routing-key": values.text,
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
                check(arguments[name])
                if name in REQUIREMENTS:
                    REQUIREMENTS[name](arguments)
            except InvalidValueError as error:
                raise precondition_failed(f"invalid arg '{name}' for {resource}: {error}") from None
