"""What can be a policy, and RabbitMQ's words for what cannot."""

from typing import Any

import pytest

from broker.policy import InvalidPolicyError, Policy, validate_policy
from broker.policy.settings import SETTINGS

VALID: dict[str, list[Any]] = {
    "message-ttl": [0, 1, 315_360_000_000],
    "expires": [1, 315_360_000_000],
    "max-length": [0, (1 << 63) - 1],
    "max-length-bytes": [0],
    "max-in-memory-length": [0],
    "max-in-memory-bytes": [0],
    "overflow": ["drop-head", "reject-publish", "reject-publish-dlx"],
    "dead-letter-exchange": ["", "dlx"],
    "dead-letter-routing-key": ["", "k" * 255],
    "dead-letter-strategy": ["at-most-once", "at-least-once"],
    "delivery-limit": [-1, 0, 20],
    "consumer-timeout": [0, 1000],
    "consumer-disconnected-timeout": [0],
    "delayed-retry-type": ["disabled"],
    "delayed-retry-min": [1],
    "delayed-retry-max": [1],
    "max-priority": [0, 255],
    "redelivery-delay": [0, 1000],
    "redelivery-delay-multiplier": [1, 1.5],
    "redelivery-delay-max": [0],
    "deduplication": [True, False],
    "deduplication-window": [1],
    "deduplication-count": [1],
    "deduplication-header": ["x-deduplication-id"],
    "delayed": [True, False],
    "group-header": ["group"],
    "alternate-exchange": ["ae"],
    "queue-mode": ["default", "lazy"],
    "queue-version": [1, 2],
    "queue-leader-locator": ["client-local", "balanced", "random", "least-leaders"],
    "queue-master-locator": ["min-masters", "client-local"],
    "initial-cluster-size": [0, 3],
    "target-group-size": [1],
    "member-placement-tag": ["zone"],
    "max-age": ["1Y", "2M", "3D", "4h", "5m", "60s", "010s"],
    "stream-max-segment-size-bytes": [0, 3_000_000_000],
    "stream-filter-size-bytes": [16, 255],
    "ha-mode": ["all"],
    "ha-params": [2, ["rabbit@a", "rabbit@b"]],
    "ha-sync-mode": ["automatic"],
    "ha-sync-batch-size": [50],
    "ha-promote-on-shutdown": ["always"],
    "ha-promote-on-failure": ["always"],
    "federation-upstream": ["up"],
    "federation-upstream-set": ["all"],
    "federation-upstream-pattern": ["^up"],
}

INVALID: list[tuple[str, Any, str]] = [
    ("message-ttl", -1, "-1 is not a valid message TTL"),
    ("message-ttl", "60000", '<<"60000">> is not a valid message TTL'),
    ("message-ttl", 1.0, "1.0 is not a valid message TTL"),
    ("message-ttl", True, "true is not a valid message TTL"),
    ("message-ttl", None, "null is not a valid message TTL"),
    ("message-ttl", 315_360_000_001, "315360000001 is not a valid message TTL"),
    ("expires", 0, "0 is not a valid queue expiry"),
    ("max-length", -1, "-1 is not a valid maximum length"),
    ("max-length", 1 << 63, "9223372036854775808 is not a valid maximum length"),
    ("max-length-bytes", [1], "[1] is not a valid maximum length in bytes"),
    ("max-in-memory-length", -1, "-1 is not a valid maximum memory in bytes"),
    ("max-in-memory-bytes", -1, "-1 is not a valid maximum memory in bytes"),
    ("overflow", "reject", '<<"reject">> is not a valid overflow value'),
    ("dead-letter-exchange", 1, "1 is not a valid dead letter exchange name"),
    ("dead-letter-routing-key", {"a": 1}, '#{<<"a">> => 1} is not a valid dead letter routing key'),
    ("dead-letter-strategy", "sometimes", '<<"sometimes">> is not a valid dead letter strategy'),
    ("delivery-limit", "3", '<<"3">> is not a valid delivery limit'),
    ("consumer-timeout", -1, "-1 is not a valid consumer timeout"),
    ("consumer-disconnected-timeout", -1, "-1 is not a valid consumer disconnected timeout"),
    (
        "delayed-retry-type",
        "some",
        '<<"some">> is not a valid delayed retry type. Must be one of: all, failed, returned, disabled',
    ),
    ("delayed-retry-min", 0, "0 is not a valid delayed retry minimum delay. Must be a positive integer"),
    ("delayed-retry-max", 0, "0 is not a valid delayed retry maximum delay. Must be a positive integer"),
    ("max-priority", 256, "256 is not a valid maximum priority"),
    ("redelivery-delay", -1, "-1 is not a valid redelivery delay"),
    ("redelivery-delay-multiplier", 0.5, "0.5 is not a valid redelivery delay multiplier"),
    ("redelivery-delay-multiplier", True, "true is not a valid redelivery delay multiplier"),
    ("redelivery-delay-multiplier", float("inf"), "inf is not a valid redelivery delay multiplier"),
    ("redelivery-delay-max", -1, "-1 is not a valid maximum redelivery delay"),
    ("deduplication", 1, "1 is not a valid deduplication value"),
    ("deduplication-window", 0, "0 is not a valid deduplication window"),
    ("deduplication-count", 0, "0 is not a valid deduplication count"),
    ("deduplication-header", "", "<<>> is not a valid deduplication header"),
    ("delayed", "true", '<<"true">> is not a valid delayed value'),
    ("group-header", 5, "5 is not a valid group header"),
    ("alternate-exchange", 1, "1 is not a valid alternate exchange name"),
    ("queue-mode", "eager", '<<"eager">> is not a valid queue-mode value'),
    ("queue-version", 3, "3 is not a valid queue-version value"),
    ("queue-leader-locator", "min-masters", '<<"min-masters">> is not a valid queue leader locator value'),
    ("queue-master-locator", "here", '<<"here">> is not a valid master locator'),
    ("initial-cluster-size", -1, "-1 is not a valid cluster size"),
    ("target-group-size", 0, "0 is not a valid qq target count value"),
    ("member-placement-tag", "", "<<>> is not a valid member-placement-tag value. Must be a non-empty string"),
    ("max-age", "0s", '<<"0s">> is not a valid max age'),
    ("max-age", "5", '<<"5">> is not a valid max age'),
    ("max-age", 5, "5 is not a valid max age"),
    ("stream-max-segment-size-bytes", 3_000_000_001, "3000000001 is not a valid segment size"),
    ("stream-filter-size-bytes", 15, "15 is not a valid filter size. Valid range is 16-255"),
    ("ha-params", 1 << 64, "18446744073709551616 is not a valid ha-params value"),
    ("federation-upstream", 1, "1 is not a valid federation upstream name"),
    ("federation-upstream-set", 1, "1 is not a valid federation upstream set name"),
    ("federation-upstream-pattern", 1, "1 is not a valid federation upstream pattern name"),
    ("max-priorities", 5, '[{<<"max-priorities">>,5}] are not recognised policy settings'),
    ("single-active-consumer", True, '[{<<"single-active-consumer">>,true}] are not recognised policy settings'),
    ("x-message-ttl", 5, '[{<<"x-message-ttl">>,5}] are not recognised policy settings'),
]

OPERATOR_KEYS = {
    "expires",
    "message-ttl",
    "max-length",
    "max-length-bytes",
    "max-in-memory-length",
    "max-in-memory-bytes",
    "delivery-limit",
    "queue-version",
    "overflow",
    "queue-master-locator",
    "target-group-size",
    "member-placement-tag",
    "delayed-retry-type",
    "delayed-retry-min",
    "delayed-retry-max",
}


def reasons(*arguments: Any, **options: Any) -> list[str]:
    with pytest.raises(InvalidPolicyError) as refused:
        validate_policy(*arguments, **options)
    return refused.value.reasons


def test_every_setting_is_in_the_tables() -> None:
    assert set(VALID) == set(SETTINGS)
    assert {key for key, _, _ in INVALID} >= set(SETTINGS) - {key for key in SETTINGS if key.startswith("ha-")}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in VALID.items() for value in values])
def test_a_valid_setting(key: str, value: Any) -> None:
    assert validate_policy("p", ".*", {key: value}).definition == {key: value}


@pytest.mark.parametrize(("key", "value", "reason"), INVALID)
def test_an_invalid_setting(key: str, value: Any, reason: str) -> None:
    assert reasons("p", ".*", {key: value}) == [reason]


@pytest.mark.parametrize("key", sorted(SETTINGS))
def test_what_an_operator_policy_may_have(key: str) -> None:
    value = VALID[key][0]
    if key in OPERATOR_KEYS:
        assert validate_policy("p", ".*", {key: value}, operator=True).definition == {key: value}
    else:
        (reason,) = reasons("p", ".*", {key: value}, operator=True)
        assert reason.startswith(f'[{{<<"{key}">>,')
        assert reason.endswith("}] are not recognised policy settings")


def test_what_an_operator_policy_cannot_have_is_not_looked_at() -> None:
    definition = {"redelivery-delay": "a", "redelivery-delay-max": 1}
    assert reasons("p", ".*", definition, operator=True) == [
        '[{<<"redelivery-delay">>,<<"a">>},{<<"redelivery-delay-max">>,1}] are not recognised policy settings'
    ]
    assert reasons("p", ".*", {}, operator=True) == ["no policy provided"]
    (reason,) = reasons("p", ".*", None, operator=True)
    assert reason == "parse error while reading policy definition: null. Validator: operator_policy_validator."


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ({}, "no policy provided"),
        (5, "parse error while reading policy definition: 5. Validator: policy_validator."),
        ([1], "parse error while reading policy definition: [1]. Validator: policy_validator."),
        (
            {"b": 1, "a": "x", "max-length": 1},
            '[{<<"a">>,<<"x">>},{<<"b">>,1}] are not recognised policy settings',
        ),
        ({"unknown": 1, "max-length": -1}, "-1 is not a valid maximum length"),
        ({"delayed-retry-type": "all"}, "delayed-retry-min is required when delayed-retry-type is all"),
        (
            {"delayed-retry-type": "all", "delayed-retry-min": 5, "delayed-retry-max": 4},
            "delayed-retry-max (4) must not be smaller than delayed-retry-min (5)",
        ),
        (
            {"redelivery-delay": 5, "redelivery-delay-max": 4},
            "redelivery-delay-max (4) must not be smaller than redelivery-delay (5)",
        ),
        (
            {"federation-upstream": "a", "federation-upstream-set": "b"},
            "cannot specify federation-upstream, federation-upstream-set or federation-upstream-pattern together",
        ),
        ({"dead-letter-exchange": "\udc80"}, "<<128>> is not a valid dead letter exchange name"),
    ],
)
def test_an_invalid_definition(definition: Any, reason: str) -> None:
    assert reasons("p", ".*", definition) == [reason]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (5, "pattern should be a binary but was 5"),
        (None, "pattern should be a binary but was null"),
        ("*", 'pattern should be regular expression but is invalid: {"nothing to repeat",0}'),
        ("a[b", 'pattern should be regular expression but is invalid: {"unterminated character set",1}'),
        ("a(b", 'pattern should be regular expression but is invalid: {"missing ), unterminated subpattern",1}'),
        ("[[:alpha:]]", 'pattern should be regular expression but is invalid: {"Possible nested set at position 1",0}'),
        ("a" * 1025, "pattern must not exceed 1024 bytes"),
        ("é" * 513, "pattern must not exceed 1024 bytes"),
    ],
)
def test_an_invalid_pattern(pattern: Any, reason: str) -> None:
    assert reasons("p", pattern, {"max-length": 1}) == [reason]


@pytest.mark.parametrize("apply_to", ["all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"])
def test_what_a_policy_may_apply_to(apply_to: str) -> None:
    assert validate_policy("p", ".*", {"max-length": 1}, apply_to=apply_to).apply_to == apply_to


@pytest.mark.parametrize(("apply_to", "shown"), [("queue", "queue"), ("", ""), (5, "5"), (None, "null"), (["a"], "")])
def test_what_a_policy_cannot_apply_to(apply_to: Any, shown: str) -> None:
    shown = shown or ("" if apply_to == "" else '[<<"a">>]')
    assert reasons("p", ".*", {"max-length": 1}, apply_to=apply_to) == [
        f"apply-to '{shown}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', "
        "'streams', 'exchanges', or 'all'"
    ]


@pytest.mark.parametrize("priority", [-5, 0, 1.5, 1 << 40])
def test_a_priority(priority: float) -> None:
    assert validate_policy("p", ".*", {"max-length": 1}, priority=priority).priority == priority


@pytest.mark.parametrize(
    ("priority", "shown"), [("1", '<<"1">>'), (None, "null"), (True, "true"), (float("nan"), "nan"), (1 << 63, 1 << 63)]
)
def test_what_is_no_priority(priority: Any, shown: object) -> None:
    assert reasons("p", ".*", {"max-length": 1}, priority=priority) == [
        f"priority should be a number, actually was {shown}"
    ]


def test_a_name_has_a_limit() -> None:
    assert validate_policy("é" * 127, ".*", {"max-length": 1}).name == "é" * 127
    assert reasons("é" * 128, ".*", {"max-length": 1}) == ["name must not exceed 255 bytes of UTF-8"]
    assert reasons("\udc80", ".*", {"max-length": 1}) == ["name must not exceed 255 bytes of UTF-8"]


def test_all_that_is_wrong_is_said_at_once_in_the_order_of_rabbitmq() -> None:
    with pytest.raises(InvalidPolicyError) as refused:
        validate_policy("p", "(", {}, priority="x", apply_to="q")
    assert [reason.split()[0] for reason in refused.value.reasons] == ["no", "apply-to", "pattern", "priority"]
    assert str(refused.value) == "Validation failed\n\n" + "".join(f"{line}\n" for line in refused.value.reasons)


def test_a_policy_does_not_change_with_what_it_was_made_from() -> None:
    definition = {"max-length": 1}
    policy = validate_policy("p", "^a", definition, priority=3, apply_to="queues")
    definition["max-length"] = 2
    assert policy == Policy("p", "^a", {"max-length": 1}, 3, "queues")
