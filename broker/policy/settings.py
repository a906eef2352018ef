"""The settings that policies may have, as a table: values, and who wins where two say different things."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.policy import values
from broker.policy.values import InvalidValueError

Resolve = Callable[[Any, Any], Any]
"""Takes the value of the policy and the value of whoever else has a say, and returns the one that counts."""

SEGMENT_SIZE_BYTES_MAX = 3_000_000_000
FILTER_SIZE_BYTES = range(16, 256)
RETRY_TYPES = ("all", "failed", "returned", "disabled")
AGE = re.compile(r"0*[1-9][0-9]*[YMDhms]")


def policy_wins(policy_value: Any, _: Any) -> Any:
    """The policy says more than the argument."""
    return policy_value


def other_wins(_: Any, other_value: Any) -> Any:
    """The argument, or the operator policy, says more than the policy."""
    return other_value


def lower_limit(policy_value: Any, other_value: Any) -> Any:
    """Take the lower limit, where a negative one stands for none."""
    pick = max if policy_value < 0 or other_value < 0 else min
    return pick(policy_value, other_value)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a definition.

    ``described`` completes "... is not a valid", ``argument`` decides between argument and policy, ``operator`` between
    operator policy and policy. Without ``operator`` an operator policy cannot have the key.
    """

    check: values.Check
    described: str
    argument: Resolve = other_wins
    operator: Resolve | None = None


def _anything(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            values.text(item)
    elif not isinstance(value, bool | str):
        values.integer(value)


def _age(value: Any) -> None:
    if not AGE.fullmatch(values.text(value)):
        raise InvalidValueError("invalid_max_age")


def _filter_size(value: Any) -> None:
    if values.integer(value) not in FILTER_SIZE_BYTES:
        raise InvalidValueError("invalid_filter_size")


def _segment_size(value: Any) -> None:
    if values.not_negative(value) > SEGMENT_SIZE_BYTES_MAX:
        raise InvalidValueError("invalid_segment_size")


def _not_empty(value: Any) -> None:
    if not values.text(value):
        raise InvalidValueError("invalid_member_placement_tag_arg")


SETTINGS: Mapping[str, Setting] = {
    # Expiry, limits and dead-lettering
    "message-ttl": Setting(values.milliseconds, "message TTL", min, min),
    "expires": Setting(values.positive_milliseconds, "queue expiry", min, min),
    "max-length": Setting(values.not_negative, "maximum length", min, min),
    "max-length-bytes": Setting(values.not_negative, "maximum length in bytes", min, min),
    "overflow": Setting(values.overflow, "overflow value", other_wins, other_wins),
    "dead-letter-exchange": Setting(values.short_text, "dead letter exchange name"),
    "dead-letter-routing-key": Setting(values.short_text, "dead letter routing key"),
    "dead-letter-strategy": Setting(values.dead_letter_strategy, "dead letter strategy"),
    # Delivery
    "delivery-limit": Setting(values.integer, "delivery limit", lower_limit, lower_limit),
    "consumer-timeout": Setting(values.not_negative, "consumer timeout", min),
    "consumer-disconnected-timeout": Setting(values.not_negative, "consumer disconnected timeout", min),
    "delayed-retry-type": Setting(
        values.one_of(RETRY_TYPES, "invalid"),
        f"delayed retry type. Must be one of: {', '.join(RETRY_TYPES)}",
        policy_wins,
        other_wins,
    ),
    "delayed-retry-min": Setting(values.positive, "delayed retry minimum delay. Must be a positive integer", min, max),
    "delayed-retry-max": Setting(values.positive, "delayed retry maximum delay. Must be a positive integer", min, min),
    # Haypile's own
    "max-priority": Setting(values.priority, "maximum priority"),
    "redelivery-delay": Setting(values.milliseconds, "redelivery delay"),
    "redelivery-delay-multiplier": Setting(values.multiplier, "redelivery delay multiplier"),
    "redelivery-delay-max": Setting(values.milliseconds, "maximum redelivery delay"),
    "deduplication": Setting(values.flag, "deduplication value"),
    "deduplication-window": Setting(values.positive_milliseconds, "deduplication window"),
    "deduplication-count": Setting(values.deduplication_count, "deduplication count"),
    "deduplication-header": Setting(values.header_name, "deduplication header"),
    "delayed": Setting(values.flag, "delayed value"),
    "group-header": Setting(values.header_name, "group header"),
    # Exchanges
    "alternate-exchange": Setting(values.short_text, "alternate exchange name"),
    # Known to RabbitMQ, without effect here
    "max-in-memory-length": Setting(values.not_negative, "maximum memory in bytes", min, min),
    "max-in-memory-bytes": Setting(values.not_negative, "maximum memory in bytes", min, min),
    "queue-mode": Setting(values.queue_mode, "queue-mode value"),
    "queue-version": Setting(values.queue_version, "queue-version value", other_wins, other_wins),
    "queue-leader-locator": Setting(
        values.one_of(values.LEADER_LOCATORS[:4], "invalid"), "queue leader locator value", policy_wins
    ),
    "queue-master-locator": Setting(values.leader_locator, "master locator", policy_wins, other_wins),
    "initial-cluster-size": Setting(values.not_negative, "cluster size", policy_wins),
    "target-group-size": Setting(values.positive, "qq target count value", other_wins, max),
    "member-placement-tag": Setting(
        _not_empty, "member-placement-tag value. Must be a non-empty string", policy_wins, other_wins
    ),
    "max-age": Setting(_age, "max age", policy_wins),
    "stream-max-segment-size-bytes": Setting(_segment_size, "segment size", policy_wins),
    "stream-filter-size-bytes": Setting(_filter_size, "filter size. Valid range is 16-255", policy_wins),
    "ha-mode": Setting(_anything, "ha-mode value"),
    "ha-params": Setting(_anything, "ha-params value"),
    "ha-sync-mode": Setting(_anything, "ha-sync-mode value"),
    "ha-sync-batch-size": Setting(_anything, "ha-sync-batch-size value"),
    "ha-promote-on-shutdown": Setting(_anything, "ha-promote-on-shutdown value"),
    "ha-promote-on-failure": Setting(_anything, "ha-promote-on-failure value"),
    "federation-upstream": Setting(values.text, "federation upstream name"),
    "federation-upstream-set": Setting(values.text, "federation upstream set name"),
    "federation-upstream-pattern": Setting(values.text, "federation upstream pattern name"),
}
"""Every key that a policy may have."""

EXCHANGE_KEYS = frozenset({"alternate-exchange"})
"""The keys that mean something for an exchange, and nothing for a queue."""

RESOLVED_BY_QUEUE_TYPE: Mapping[tuple[str, str], Resolve] = {
    ("quorum", "overflow"): policy_wins,
    ("stream", "max-length-bytes"): policy_wins,
}
"""Where the type of the queue makes a difference between argument and policy."""

_CLASSIC_KEYS = frozenset({"max-priority", "queue-mode", "queue-master-locator"})
_MIRROR_KEYS = frozenset({"ha-mode", "ha-params", "ha-sync-mode", "ha-promote-on-shutdown", "ha-promote-on-failure"})
_STREAM_KEYS = frozenset({"max-age", "stream-max-segment-size-bytes", "initial-cluster-size"})
_IN_MEMORY_KEYS = frozenset({"max-in-memory-length", "max-in-memory-bytes"})

UNSUPPORTED_KEYS: Mapping[str, frozenset[str]] = {
    # RabbitMQ's classic queues have neither "delivery-limit" nor "dead-letter-strategy"; here they have both.
    "classic": _STREAM_KEYS | _IN_MEMORY_KEYS | {"target-group-size"},
    "quorum": _CLASSIC_KEYS | _MIRROR_KEYS | _STREAM_KEYS,
    "stream": _CLASSIC_KEYS
    | _MIRROR_KEYS
    | _IN_MEMORY_KEYS
    | {"expires", "message-ttl", "max-length", "overflow", "delivery-limit", "target-group-size"}
    | {"dead-letter-exchange", "dead-letter-routing-key", "dead-letter-strategy"},
}
"""A policy with one of these keys does not apply to queues of the type at all."""


def merge_definitions(policy: Mapping[str, Any] | None, operator_policy: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a policy and an operator policy say together."""
    merged = dict(policy or {})
    for key, value in (operator_policy or {}).items():
        resolve = SETTINGS[key].operator or other_wins
        merged[key] = resolve(merged[key], value) if key in merged else value
    return merged


def resolve_arguments(
    definition: Mapping[str, Any], arguments: Mapping[str, Any], queue_type: str = "classic"
) -> dict[str, Any]:
    """Return what a merged definition and the arguments of a queue say together, without the ``x-`` of arguments."""
    settings = {key: value for key, value in definition.items() if key not in EXCHANGE_KEYS}
    for argument, value in arguments.items():
        key = argument.removeprefix("x-")
        if key == argument or value is None:
            continue
        if key not in settings:
            settings[key] = value
        elif _is_comparable(key, value):
            resolve = RESOLVED_BY_QUEUE_TYPE.get((queue_type, key), SETTINGS[key].argument)
            settings[key] = resolve(settings[key], value)
    return settings


def _is_comparable(key: str, value: Any) -> bool:
    # Arguments that the broker does not know at the declaration may have any type.
    try:
        SETTINGS[key].check(value)
    except InvalidValueError:
        return False
    return True
