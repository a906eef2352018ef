"""Which values a setting of a queue may have, whether an argument or a policy gives it; the words are RabbitMQ's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from protocol.amqp.erlang_term import format_type

EXPIRY_MAX_MS = 315_360_000_000
DEDUPLICATION_COUNT_MAX = 1_000_000
INTEGER_MAX = (1 << 63) - 1
PRIORITY_MAX = 255
SHORT_STRING_BYTES_MAX = 255
OVERFLOWS = ("drop-head", "reject-publish", "reject-publish-dlx")
LEADER_LOCATORS = ("client-local", "balanced", "random", "least-leaders", "min-masters")
DEAD_LETTER_STRATEGIES = ("at-most-once", "at-least-once")

Check = Callable[[Any], object]
"""Raises ``InvalidValueError`` for a value that a setting cannot have."""


class InvalidValueError(ValueError):
    """A value that a setting cannot have; the text is an Erlang term, as RabbitMQ prints it."""


def _unacceptable_type(value: Any) -> InvalidValueError:
    return InvalidValueError(f"{{unacceptable_type,{format_type(value)}}}")


def integer(value: Any) -> int:
    """Any integer of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or format_type(value) == "timestamp":
        raise InvalidValueError(f'"expected integer, got {format_type(value)}"')
    if not -INTEGER_MAX <= value <= INTEGER_MAX:
        raise InvalidValueError(f"{{value_too_large,{value}}}")
    return value


def not_negative(value: Any) -> int:
    """An integer from zero."""
    if integer(value) < 0:
        raise InvalidValueError(f"{{value_negative,{value}}}")
    return int(value)


def positive(value: Any) -> int:
    """An integer from one."""
    if integer(value) == 0:
        raise InvalidValueError("{value_zero,0}")
    return not_negative(value)


def deduplication_count(value: Any) -> None:
    """How many keys are remembered: they are in memory, and in each checkpoint."""
    if positive(value) > DEDUPLICATION_COUNT_MAX:
        raise InvalidValueError(f"{{max_value_exceeded,{value}}}")


def milliseconds(value: Any) -> None:
    """A duration of at most ten years."""
    if not_negative(value) > EXPIRY_MAX_MS:
        raise InvalidValueError(f"{{value_too_large,{value}}}")


def positive_milliseconds(value: Any) -> None:
    """A duration of at most ten years that is not zero."""
    positive(value)
    milliseconds(value)


def priority(value: Any) -> None:
    """The highest priority of a queue."""
    if not_negative(value) > PRIORITY_MAX:
        raise InvalidValueError(f"{{max_value_exceeded,{value}}}")


def multiplier(value: Any) -> None:
    """A number by which delays grow."""
    if isinstance(value, bool) or not isinstance(value, int | float) or format_type(value) == "timestamp":
        raise InvalidValueError(f'"expected number, got {format_type(value)}"')
    if not math.isfinite(value):
        raise InvalidValueError("value_not_finite")
    if value < 1:
        raise InvalidValueError(f"{{value_too_small,{value}}}")


def flag(value: Any) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise _unacceptable_type(value)


def text(value: Any) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise _unacceptable_type(value)
    return value


def short_text(value: Any) -> str:
    """Text that fits into a short string: the name of an exchange, a routing key."""
    if len(text(value).encode("utf-8", "surrogateescape")) > SHORT_STRING_BYTES_MAX:
        raise InvalidValueError("value_too_long")
    return str(value)


def header_name(value: Any) -> None:
    """The name of a header of a message."""
    if not short_text(value):
        raise InvalidValueError("value_empty")


def one_of(choices: tuple[str, ...], refusal: str) -> Check:
    """Return the check for one of some words; ``refusal`` may name the value as ``{}``."""

    def check(value: Any) -> None:
        if text(value) not in choices:
            raise InvalidValueError(refusal.format(value))

    return check


overflow = one_of(OVERFLOWS, "invalid_overflow")
queue_mode = one_of(("default", "lazy"), "\"unsupported queue mode '{}'\"")
leader_locator = one_of(LEADER_LOCATORS, "invalid_queue_locator_arg")
dead_letter_strategy = one_of(DEAD_LETTER_STRATEGIES, "invalid_dlx_strategy")


def queue_version(value: Any) -> None:
    """The version of a classic queue's store."""
    if not_negative(value) not in (1, 2):
        raise InvalidValueError(f"\"unsupported queue version '{value}'\"")
