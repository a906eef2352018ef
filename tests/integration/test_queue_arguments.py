"""Arguments of queues and consumers: which are checked, in RabbitMQ's words."""

import struct
from typing import Any

import pytest
from pamqp.commands import Basic, Queue

from tests.support.raw_client import RawChannel, frame, short_string, table

TEN_YEARS_MS = 315_360_000_000
INTEGER = '"expected integer, got {}"'


@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("x-expires", 0, "{value_zero,0}"),
        ("x-expires", -1, "{value_negative,-1}"),
        ("x-expires", TEN_YEARS_MS + 1, "{value_too_large,315360000001}"),
        ("x-expires", "60000", INTEGER.format("longstr")),
        ("x-message-ttl", -5, "{value_negative,-5}"),
        ("x-message-ttl", TEN_YEARS_MS + 1, "{value_too_large,315360000001}"),
        ("x-message-ttl", True, INTEGER.format("bool")),
        ("x-message-ttl", 1.5, INTEGER.format("float")),
        ("x-message-ttl", {"a": 1}, INTEGER.format("table")),
        ("x-message-ttl", [1], INTEGER.format("array")),
        ("x-dead-letter-routing-key", "key", "routing_key_but_no_dlx_defined"),
        ("x-dead-letter-routing-key", 5, "{unacceptable_type,byte}"),
        ("x-max-length", -1, "{value_negative,-1}"),
        ("x-max-length", "1", INTEGER.format("longstr")),
        ("x-max-length-bytes", -300, "{value_negative,-300}"),
        ("x-max-length-bytes", None, INTEGER.format("void")),
        ("x-max-priority", 256, "{max_value_exceeded,256}"),
        ("x-max-priority", -1, "{value_negative,-1}"),
        ("x-overflow", "zork", "invalid_overflow"),
        ("x-overflow", 1, "{unacceptable_type,byte}"),
        ("x-single-active-consumer", 1, "{unacceptable_type,byte}"),
        ("x-single-active-consumer", "true", "{unacceptable_type,longstr}"),
        ("x-queue-type", "zork", "\"unsupported queue type 'zork'\""),
        ("x-queue-type", 1, "{unacceptable_type,byte}"),
        ("x-queue-version", 3, "\"unsupported queue version '3'\""),
        ("x-queue-version", "2", INTEGER.format("longstr")),
        pytest.param("x-consumer-timeout", "a", INTEGER.format("longstr"), marks=pytest.mark.haypile_only),
        pytest.param("x-consumer-timeout", -1, "{value_negative,-1}", marks=pytest.mark.haypile_only),
        pytest.param("x-redelivery-timeout", "a", INTEGER.format("longstr"), marks=pytest.mark.haypile_only),
        pytest.param("x-redelivery-timeout", -1, "{value_negative,-1}", marks=pytest.mark.haypile_only),
        pytest.param("x-delivery-limit", "3", INTEGER.format("longstr"), marks=pytest.mark.haypile_only),
    ],
)
def test_an_invalid_argument_is_refused(channel: RawChannel, name: str, argument: str, value: Any, reason: str) -> None:
    text = f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{name}' in vhost '/': {reason}"
    channel.refused(Queue.Declare(queue=name, exclusive=True, arguments={argument: value}), 406, text)


@pytest.mark.haypile_only
@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("x-redelivery-delay", -1, "{value_negative,-1}"),
        ("x-redelivery-delay", "1s", INTEGER.format("longstr")),
        ("x-redelivery-delay", TEN_YEARS_MS + 1, "{value_too_large,315360000001}"),
        ("x-redelivery-delay-multiplier", 0, "{value_too_small,0}"),
        ("x-redelivery-delay-multiplier", 0.5, "{value_too_small,0.5}"),
        ("x-redelivery-delay-multiplier", True, '"expected number, got bool"'),
        ("x-redelivery-delay-multiplier", "2", '"expected number, got longstr"'),
        ("x-redelivery-delay-max", -1, "{value_negative,-1}"),
        ("x-deduplication", 1, "{unacceptable_type,byte}"),
        ("x-deduplication", "true", "{unacceptable_type,longstr}"),
        ("x-deduplication-window", 0, "{value_zero,0}"),
        ("x-deduplication-window", TEN_YEARS_MS + 1, "{value_too_large,315360000001}"),
        ("x-deduplication-count", 0, "{value_zero,0}"),
        ("x-deduplication-count", -1, "{value_negative,-1}"),
        ("x-deduplication-header", "", "value_empty"),
        ("x-deduplication-header", "h" * 256, "value_too_long"),
        ("x-deduplication-header", 1, "{unacceptable_type,byte}"),
        ("x-delayed", "yes", "{unacceptable_type,longstr}"),
        ("x-group-header", True, "{unacceptable_type,bool}"),
        ("x-group-header", "", "value_empty"),
    ],
)
def test_an_invalid_argument_of_haypile_is_refused(
    channel: RawChannel, name: str, argument: str, value: Any, reason: str
) -> None:
    test_an_invalid_argument_is_refused(channel, name, argument, value, reason)


@pytest.mark.haypile_only
def test_the_longest_redelivery_delay_is_not_below_the_first(channel: RawChannel, name: str) -> None:
    arguments: Any = {"x-redelivery-delay": 1000, "x-redelivery-delay-max": 999}
    text = f"invalid arg 'x-redelivery-delay-max' for queue '{name}' in vhost '/': {{value_too_small,999}}"
    channel.refused(
        Queue.Declare(queue=name, exclusive=True, arguments=arguments), 406, f"PRECONDITION_FAILED - {text}"
    )


def test_a_dead_letter_exchange_is_named_by_a_string(channel: RawChannel, name: str) -> None:
    text = f"invalid type 'byte' for arg 'x-dead-letter-exchange' in queue '{name}' in vhost '/'"
    arguments: Any = {"x-dead-letter-exchange": 5, "x-message-ttl": -1}
    method = Queue.Declare(queue=name, exclusive=True, arguments=arguments)
    channel.refused(method, 406, f"PRECONDITION_FAILED - {text}")


@pytest.mark.parametrize("argument", ["x-max-age", "x-stream-max-segment-size-bytes", "x-quorum-initial-group-size"])
def test_an_argument_of_another_kind_of_queue_is_refused(channel: RawChannel, name: str, argument: str) -> None:
    method = Queue.Declare(queue=name, exclusive=True, arguments={argument: 1})
    text = f"invalid arg '{argument}' for queue '{name}' in vhost '/' of queue type rabbit_classic_queue"
    channel.refused(method, 406, f"PRECONDITION_FAILED - {text}")


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-expires": 60000},
        {"x-expires": TEN_YEARS_MS},
        {"x-message-ttl": 60000},
        {"x-message-ttl": TEN_YEARS_MS},
        {"x-dead-letter-exchange": ""},
        {"x-dead-letter-exchange": "nowhere", "x-dead-letter-routing-key": "key"},
        {"x-max-length": 1000, "x-max-length-bytes": 1 << 40},
        {"x-max-priority": 0},
        {"x-max-priority": 255},
        {"x-overflow": "drop-head"},
        {"x-overflow": "reject-publish"},
        {"x-overflow": "reject-publish-dlx"},
        {"x-single-active-consumer": False},
        {"x-queue-type": "classic"},
        {"x-queue-version": 2},
        {"x-queue-mode": "lazy"},
        {"x-unknown": "whatever", "anything": [1, {"a": None}]},
        pytest.param({"x-consumer-timeout": 60000}, marks=pytest.mark.haypile_only),
        pytest.param({"x-redelivery-timeout": 60000}, marks=pytest.mark.haypile_only),
        pytest.param({"x-delivery-limit": 3}, marks=pytest.mark.haypile_only),
        pytest.param({"x-delivery-limit": -1}, marks=pytest.mark.haypile_only),
        pytest.param(
            {"x-redelivery-delay": 1000, "x-redelivery-delay-multiplier": 1.5, "x-redelivery-delay-max": 60000},
            marks=pytest.mark.haypile_only,
        ),
        pytest.param({"x-redelivery-delay-multiplier": 2}, marks=pytest.mark.haypile_only),
        pytest.param(
            {"x-deduplication": True, "x-deduplication-window": 60000, "x-deduplication-count": 1000},
            marks=pytest.mark.haypile_only,
        ),
        pytest.param({"x-deduplication-header": "id"}, marks=pytest.mark.haypile_only),
        pytest.param({"x-delayed": True, "x-group-header": "group"}, marks=pytest.mark.haypile_only),
    ],
)
def test_valid_arguments_are_taken_and_compared(channel: RawChannel, name: str, arguments: dict[str, Any]) -> None:
    for _ in range(2):
        channel.declare_queue(name, exclusive=True, arguments=arguments)


def declare_with(name: str, arguments: bytes) -> bytes:
    """queue.declare, exclusive, with a table that is already encoded."""
    payload = struct.pack(">IH", Queue.Declare.index, 0) + short_string(name) + b"\4"
    return frame(1, 1, payload + struct.pack(">I", len(arguments)) + arguments)


WIDTHS = [
    b"b\5",
    b"B\5",
    b"s\0\5",
    b"u\0\5",
    b"I\0\0\0\5",
    b"i\0\0\0\5",
    b"l" + b"\0" * 7 + b"\5",
    b"L" + b"\0" * 7 + b"\5",
]


def test_integers_of_every_width_are_the_same_number(channel: RawChannel, name: str) -> None:
    for value in WIDTHS:
        channel.client.send_bytes(declare_with(name, table(**{"x-max-length": value})))
        assert channel.expect(Queue.DeclareOk).queue == name


@pytest.mark.parametrize(
    ("current", "received", "text"),
    [
        ({"x-expires": 60000}, {"x-expires": 70000}, "'x-expires' for {}: received '70000' but current is '60000'"),
        (
            {},
            {"x-max-length": 5},
            "'x-max-length' for {}: received the value '5' of type 'byte' but current is none",
        ),
        (
            {"x-max-length": 100000},
            {},
            "'x-max-length' for {}: received none but current is the value '100000' of type 'signedint'",
        ),
        (
            {"x-overflow": "drop-head"},
            {"x-overflow": "reject-publish"},
            "'x-overflow' for {}: received 'reject-publish' but current is 'drop-head'",
        ),
        (
            {"x-dead-letter-exchange": "a"},
            {"x-dead-letter-exchange": "b", "x-expires": 60000},
            "'x-expires' for {}: received the value '60000' of type 'unsignedshort' but current is none",
        ),
        (
            {},
            {"x-single-active-consumer": True},
            "'x-single-active-consumer' for {}: received the value 'true' of type 'bool' but current is none",
        ),
    ],
)
def test_an_inequivalent_argument_is_refused(
    channel: RawChannel, name: str, current: dict[str, Any], received: dict[str, Any], text: str
) -> None:
    channel.declare_queue(name, exclusive=True, arguments=current)
    reason = text.format(f"queue '{name}' in vhost '/'")
    method = Queue.Declare(queue=name, exclusive=True, arguments=received)
    channel.refused(method, 406, f"PRECONDITION_FAILED - inequivalent arg {reason}")


def test_arguments_that_mean_nothing_are_not_compared(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-mine": 1})
    channel.declare_queue(name, exclusive=True, arguments={"x-mine": 2, "x-other": "3"})


def test_a_classic_queue_needs_not_say_so(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True)
    channel.declare_queue(name, exclusive=True, arguments={"x-queue-type": "classic"})


def test_arguments_of_an_existing_queue_are_compared_before_they_are_checked(channel: RawChannel, queue: str) -> None:
    method = Queue.Declare(queue=queue, exclusive=True, arguments={"x-expires": 0})
    text = f"inequivalent arg 'x-expires' for queue '{queue}' in vhost '/'"
    text += ": received the value '0' of type 'byte' but current is none"
    channel.refused(method, 406, f"PRECONDITION_FAILED - {text}")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"x-priority": "high"}, "invalid arg 'x-priority' for {}: \"expected integer, got longstr\""),
        ({"x-stream-offset": "first"}, "invalid arg 'x-stream-offset' for {} of queue type rabbit_classic_queue"),
    ],
)
def test_an_invalid_argument_of_a_consumer_is_refused(
    channel: RawChannel, queue: str, arguments: dict[str, Any], text: str
) -> None:
    reason = text.format(f"queue '{queue}' in vhost '/'")
    channel.refused(Basic.Consume(queue=queue, arguments=arguments), 406, f"PRECONDITION_FAILED - {reason}")


def test_valid_arguments_of_a_consumer_are_taken(channel: RawChannel, queue: str) -> None:
    channel.consume(queue, arguments={"x-priority": -3, "x-cancel-on-ha-failover": True, "mine": [1]})
