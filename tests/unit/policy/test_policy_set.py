"""Which policy applies, and what comes of policy, operator policy and arguments together."""

from typing import Any

import pytest

from broker.policy import AppliedNames, PolicySet, TooManyPoliciesError, policy_set, validate_policy


def put(
    policies: PolicySet,
    name: str,
    pattern: str = ".*",
    definition: dict[str, Any] | None = None,
    *,
    operator: bool = False,
    **options: Any,
) -> None:
    definition = definition or {"max-length": 1}
    policies.put(validate_policy(name, pattern, definition, operator=operator, **options), operator=operator)


def with_policies(policy: dict[str, Any] | None, operator_policy: dict[str, Any] | None) -> PolicySet:
    policies = PolicySet()
    if policy is not None:
        put(policies, "p", ".*", policy)
    if operator_policy is not None:
        put(policies, "o", ".*", operator_policy, operator=True)
    return policies


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a", "bab", True),
        ("^a", "bab", False),
        ("b$", "bab", True),
        ("^(?!amq\\.).*", "amq.gen-1", False),
        ("^(?!amq\\.).*", "orders", True),
        ("^orders\\.(eu|us)\\.", "orders.eu.1", True),
        ("^orders\\.(eu|us)\\.", "orders.eu", False),
        ("(?i)ORDERS", "orders", True),
        ("", "anything", True),
        ("^$", "", True),
        ("^.{2}$", "é", True),
        ("^\\w$", "é", False),
        ("^é+$", "éé", False),
        ("(é)+$", "caféé", True),
        ("^\\x80$", "\udc80", True),
    ],
)
def test_patterns_are_looked_for_anywhere_in_the_octets_of_a_name(pattern: str, name: str, matches: bool) -> None:
    policies = PolicySet()
    put(policies, "p", pattern)
    assert (policies.policy_of_queue(name, "classic").policy == "p") is matches
    assert (policies.policy_of_exchange(name).policy == "p") is matches


@pytest.mark.parametrize(
    ("apply_to", "targets"),
    [
        ("all", {"classic", "quorum", "stream", "exchange"}),
        ("queues", {"classic", "quorum", "stream"}),
        ("classic_queues", {"classic"}),
        ("quorum_queues", {"quorum"}),
        ("streams", {"stream"}),
        ("exchanges", {"exchange"}),
    ],
)
def test_apply_to(apply_to: str, targets: set[str]) -> None:
    policies = PolicySet()
    put(policies, "p", definition={"max-length-bytes": 1}, apply_to=apply_to)
    applied = {kind for kind in ("classic", "quorum", "stream") if policies.policy_of_queue("x", kind).policy}
    if policies.policy_of_exchange("x").policy:
        applied.add("exchange")
    assert applied == targets


@pytest.mark.parametrize(
    ("key", "value", "queue_types"),
    [
        ("message-ttl", 1, {"classic", "quorum"}),
        ("max-length-bytes", 1, {"classic", "quorum", "stream"}),
        ("delivery-limit", 1, {"classic", "quorum"}),
        ("dead-letter-strategy", "at-least-once", {"classic", "quorum"}),
        ("max-priority", 1, {"classic"}),
        ("queue-mode", "lazy", {"classic"}),
        ("ha-mode", "all", {"classic"}),
        ("max-age", "1D", {"stream"}),
        ("target-group-size", 3, {"quorum"}),
        ("max-in-memory-length", 3, {"quorum"}),
    ],
)
def test_a_policy_does_not_apply_at_all_to_a_type_that_lacks_one_of_its_keys(
    key: str, value: Any, queue_types: set[str]
) -> None:
    policies = PolicySet()
    put(policies, "specific", definition={key: value, "max-length-bytes": 1}, priority=1)
    put(policies, "general", definition={"max-length-bytes": 2})
    applied = {kind: policies.policy_of_queue("q", kind).policy for kind in ("classic", "quorum", "stream")}
    assert applied == {kind: "specific" if kind in queue_types else "general" for kind in applied}


def test_the_highest_priority_applies_and_nothing_else_of_the_kind() -> None:
    policies = PolicySet()
    put(policies, "low", definition={"message-ttl": 1, "expires": 1}, priority=-1)
    put(policies, "high", definition={"message-ttl": 2}, priority=7)
    put(policies, "middle", definition={"message-ttl": 3})
    put(policies, "elsewhere", "^x", definition={"message-ttl": 4}, priority=9)
    assert policies.policy_of_queue("q", "classic") == AppliedNames("high", None)
    assert policies.effective_for_queue("q", "classic", {}) == {"message-ttl": 2}
    assert [policy.name for policy in policies.list()] == ["elsewhere", "high", "middle", "low"]
    policies.remove("high")
    assert policies.policy_of_queue("q", "classic").policy == "middle"


def test_the_name_decides_between_equal_priorities() -> None:
    policies = PolicySet()
    for name in ("b", "a", "c"):
        put(policies, name)
    assert policies.policy_of_queue("q", "classic").policy == "a"


def test_put_replaces_and_remove_removes() -> None:
    policies = PolicySet()
    put(policies, "p", "^a")
    put(policies, "p", "^b", operator=True)
    assert policies.policy_of_queue("a", "classic") == AppliedNames("p", None)
    assert policies.policy_of_queue("b", "classic") == AppliedNames(None, "p")
    put(policies, "p", "^b", priority=1)
    assert policies.policy_of_queue("a", "classic") == AppliedNames(None, None)
    assert policies.policy_of_queue("b", "classic") == AppliedNames("p", "p")
    assert policies.remove("p") == validate_policy("p", "^b", {"max-length": 1}, priority=1)
    assert policies.get("p") is None
    assert policies.remove("p") is None
    assert [policy.name for policy in policies.list(operator=True)] == ["p"]
    assert policies.get("p", operator=True) is not None


def test_there_is_a_limit_to_the_number_of_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_set, "POLICIES_MAX", 2)
    policies = PolicySet()
    put(policies, "a")
    put(policies, "b")
    put(policies, "b", "^new")
    with pytest.raises(TooManyPoliciesError, match=r"^component policy is limited to 2$"):
        put(policies, "c")
    put(policies, "c", operator=True)
    assert [policy.name for policy in policies.list()] == ["a", "b"]


@pytest.mark.parametrize(
    ("key", "value", "operator_value", "merged"),
    [
        ("message-ttl", 10, 5, 5),
        ("message-ttl", 5, 10, 5),
        ("expires", 10, 5, 5),
        ("max-length", 5, 10, 5),
        ("max-length", 0, 10, 0),
        ("max-length-bytes", 10, 5, 5),
        ("max-in-memory-length", 10, 5, 5),
        ("max-in-memory-bytes", 5, 10, 5),
        ("delivery-limit", 10, 5, 5),
        ("delivery-limit", 5, 10, 5),
        ("delivery-limit", -1, 5, 5),
        ("delivery-limit", 5, -1, 5),
        ("delivery-limit", -1, -2, -1),
        ("queue-version", 2, 1, 1),
        ("overflow", "reject-publish", "drop-head", "drop-head"),
        ("queue-master-locator", "balanced", "client-local", "client-local"),
        ("target-group-size", 5, 3, 5),
        ("target-group-size", 3, 5, 5),
        ("member-placement-tag", "a", "b", "b"),
        ("delayed-retry-min", 10, 5, 10),
        ("delayed-retry-max", 10, 5, 5),
    ],
)
def test_policy_and_operator_policy(key: str, value: Any, operator_value: Any, merged: Any) -> None:
    policies = with_policies({key: value}, {key: operator_value})
    queue_type = "quorum" if policies.policy_of_queue("q", "quorum").policy else "classic"
    assert policies.applied_to_queue("q", queue_type).definition() == {key: merged}
    assert policies.effective_for_queue("q", queue_type, {}) == {key: merged}
    assert with_policies({key: value}, None).effective_for_queue("q", queue_type, {}) == {key: value}
    assert with_policies(None, {key: value}).effective_for_queue("q", queue_type, {}) == {key: value}


def test_an_operator_policy_adds_what_the_policy_does_not_say() -> None:
    policies = with_policies({"message-ttl": 10, "dead-letter-exchange": "dlx"}, {"message-ttl": 5, "expires": 7})
    assert policies.effective_for_queue("q", "classic", {}) == {
        "message-ttl": 5,
        "dead-letter-exchange": "dlx",
        "expires": 7,
    }


@pytest.mark.parametrize(
    ("key", "policy_value", "argument_value", "queue_type", "effective"),
    [
        ("message-ttl", 10, 5, "classic", 5),
        ("message-ttl", 5, 10, "quorum", 5),
        ("expires", 5, 10, "classic", 5),
        ("max-length", 10, 5, "quorum", 5),
        ("max-length-bytes", 5, 10, "classic", 5),
        ("max-length-bytes", 10, 5, "stream", 10),
        ("consumer-timeout", 5, 10, "classic", 5),
        ("consumer-timeout", 10, 5, "quorum", 5),
        ("overflow", "reject-publish", "drop-head", "classic", "drop-head"),
        ("overflow", "reject-publish", "drop-head", "quorum", "reject-publish"),
        ("dead-letter-exchange", "p", "a", "classic", "a"),
        ("dead-letter-exchange", "p", "", "quorum", ""),
        ("dead-letter-routing-key", "p", "a", "quorum", "a"),
        ("dead-letter-strategy", "at-least-once", "at-most-once", "quorum", "at-most-once"),
        ("delivery-limit", 5, 10, "quorum", 5),
        ("delivery-limit", -1, 10, "quorum", 10),
        ("delivery-limit", 10, -1, "classic", 10),
        ("delayed-retry-min", 5, 10, "quorum", 5),
        ("queue-leader-locator", "balanced", "client-local", "quorum", "balanced"),
        ("max-age", "1D", "1h", "stream", "1D"),
        ("max-priority", 5, 10, "classic", 10),
        ("redelivery-delay", 5, 10, "classic", 10),
        ("redelivery-delay-multiplier", 1, 2.5, "classic", 2.5),
        ("redelivery-delay-max", 5, 10, "quorum", 10),
        ("deduplication", True, False, "classic", False),
        ("deduplication-window", 5, 10, "classic", 10),
        ("deduplication-count", 5, 10, "classic", 10),
        ("deduplication-header", "p", "a", "classic", "a"),
        ("delayed", True, False, "quorum", False),
        ("group-header", "p", "a", "classic", "a"),
    ],
)
def test_policy_and_argument(key: str, policy_value: Any, argument_value: Any, queue_type: str, effective: Any) -> None:
    policies = with_policies({key: policy_value}, None)
    arguments = {f"x-{key}": argument_value}
    assert policies.effective_for_queue("q", queue_type, arguments) == {key: effective}
    assert policies.effective_for_queue("q", queue_type, {}) == {key: policy_value}
    assert PolicySet().effective_for_queue("q", queue_type, arguments) == {key: argument_value}


def test_all_three_together() -> None:
    policies = with_policies({"message-ttl": 30, "max-length": 7}, {"message-ttl": 20, "max-length": 9})
    arguments = {"x-message-ttl": 25, "x-max-length": 8, "x-single-active-consumer": True, "other": 1}
    assert policies.effective_for_queue("q", "classic", arguments) == {
        "message-ttl": 20,
        "max-length": 7,
        "single-active-consumer": True,
    }


@pytest.mark.parametrize("value", ["soon", None, True, b"x", [1]])
def test_an_argument_that_cannot_be_compared_leaves_the_policy_as_it_is(value: Any) -> None:
    policies = with_policies({"delayed-retry-min": 5}, None)
    assert policies.effective_for_queue("q", "quorum", {"x-delayed-retry-min": value}) == {"delayed-retry-min": 5}


@pytest.mark.parametrize(
    ("arguments", "effective"),
    [
        ({}, "policy"),
        ({"alternate-exchange": "argument"}, "argument"),
        ({"alternate-exchange": None}, "policy"),
        ({"x-alternate-exchange": "argument"}, "policy"),
    ],
)
def test_an_exchange(arguments: dict[str, Any], effective: str) -> None:
    policies = with_policies({"alternate-exchange": "policy", "message-ttl": 1}, None)
    assert policies.effective_for_exchange("e", arguments) == {"alternate-exchange": effective}
    assert policies.effective_for_queue("e", "classic", {}) == {"message-ttl": 1}


def test_an_exchange_without_policy() -> None:
    assert PolicySet().effective_for_exchange("e", {"alternate-exchange": "ae", "other": 1}) == {
        "alternate-exchange": "ae"
    }
    assert PolicySet().effective_for_exchange("e", {}) == {}
