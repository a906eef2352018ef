"""From what an administrator asks for to a policy, or to RabbitMQ's words for why it cannot be one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from broker.policy.pattern import InvalidPatternError, Pattern
from broker.policy.policy import APPLY_TO, Policy
from broker.policy.settings import SETTINGS
from broker.policy.values import InvalidValueError
from protocol.amqp.erlang_term import format_json

NAME_BYTES_MAX = 255
FEDERATION_KEYS = ("federation-upstream", "federation-upstream-set", "federation-upstream-pattern")


class InvalidPolicyError(ValueError):
    """What was asked for cannot be a policy. The text is RabbitMQ's, and ``reasons`` are its lines."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("".join(f"{line}\n" for line in ("Validation failed\n", *reasons)))
        self.reasons = reasons


def validate_policy(
    name: str,
    pattern: Any,
    definition: Any,
    *,
    priority: Any = 0,
    apply_to: Any = "all",
    operator: bool = False,
) -> Policy:
    """Return the policy, or with ``operator`` the operator policy. Raises ``InvalidPolicyError``."""
    checks = (
        _definition_reason(definition, operator),
        _apply_to_reason(apply_to),
        _pattern_reason("pattern", pattern),
        _priority_reason(priority),
        _name_reason(name),
    )
    if reasons := [reason for reason in checks if reason is not None]:
        raise InvalidPolicyError(reasons)
    return Policy(name, pattern, dict(definition), priority, apply_to)


def _name_reason(name: str) -> str | None:
    if not _is_text(name) or len(name.encode()) > NAME_BYTES_MAX:
        return f"name must not exceed {NAME_BYTES_MAX} bytes of UTF-8"
    return None


def _priority_reason(priority: Any) -> str | None:
    if isinstance(priority, bool) or not isinstance(priority, int | float) or not _is_storable(priority):
        return f"priority should be a number, actually was {format_json(priority)}"
    return None


def _pattern_reason(key: str, pattern: Any) -> str | None:
    if not _is_text(pattern):
        return f"{key} should be a binary but was {format_json(pattern)}"
    try:
        Pattern(pattern)
    except InvalidPatternError as error:
        return f"{key} {error}"
    return None


def _apply_to_reason(apply_to: Any) -> str | None:
    if apply_to in APPLY_TO:
        return None
    shown = apply_to if isinstance(apply_to, str) else format_json(apply_to)
    return (
        f"apply-to '{shown}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', "
        "'streams', 'exchanges', or 'all'"
    )


def _definition_reason(definition: Any, operator: bool) -> str | None:
    validator = "operator_policy_validator" if operator else "policy_validator"
    if not isinstance(definition, Mapping):
        shown = format_json(definition)
        return f"parse error while reading policy definition: {shown}. Validator: {validator}."
    if not definition:
        return "no policy provided"
    return next(_setting_reasons(definition, operator), None)


def _setting_reasons(definition: Mapping[str, Any], operator: bool) -> Iterator[str]:
    known = {key: SETTINGS[key] for key in sorted(definition) if key in SETTINGS}
    if operator:
        known = {key: setting for key, setting in known.items() if setting.operator is not None}
    for key, setting in known.items():
        value = definition[key]
        try:
            setting.check(value)
        except InvalidValueError:
            yield f"{format_json(value)} is not a valid {setting.described}"
        if isinstance(value, str) and not _is_text(value):
            yield f"{format_json(value)} is not a valid {setting.described}"
    yield from _contradictions({key: definition[key] for key in known})
    if unknown := [key for key in sorted(definition) if key not in known]:
        shown = ",".join(f"{{{format_json(key)},{format_json(definition[key])}}}" for key in unknown)
        yield f"[{shown}] are not recognised policy settings"


def _contradictions(definition: Mapping[str, Any]) -> Iterator[str]:
    retry_type = definition.get("delayed-retry-type", "disabled")
    if retry_type != "disabled" and "delayed-retry-min" not in definition:
        yield f"delayed-retry-min is required when delayed-retry-type is {retry_type}"
    for least, most in (("delayed-retry-min", "delayed-retry-max"), ("redelivery-delay", "redelivery-delay-max")):
        if least in definition and most in definition and definition[most] < definition[least]:
            yield f"{most} ({definition[most]}) must not be smaller than {least} ({definition[least]})"
    if sum(key in definition for key in FEDERATION_KEYS) > 1:
        yield "cannot specify federation-upstream, federation-upstream-set or federation-upstream-pattern together"
    if "federation-upstream-pattern" in definition:
        reason = _pattern_reason("federation-upstream-pattern", definition["federation-upstream-pattern"])
        if reason is not None:
            yield reason


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _is_storable(number: float) -> bool:
    return math.isfinite(number) and abs(number) < 1 << 63
