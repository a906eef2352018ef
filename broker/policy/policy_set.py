"""The policies of a virtual host, and what they make of its queues and exchanges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from broker.policy.pattern import Pattern
from broker.policy.policy import Policy
from broker.policy.settings import EXCHANGE_KEYS, UNSUPPORTED_KEYS, merge_definitions, resolve_arguments

POLICIES_MAX = 4096
"""How many policies, and how many operator policies, a virtual host may have: each is tried on each new queue."""


class TooManyPoliciesError(ValueError):
    """A virtual host has as many policies as it may have. The text is RabbitMQ's."""


class AppliedPolicies(NamedTuple):
    """The one policy and the one operator policy that apply to a queue or an exchange."""

    policy: Policy | None
    operator_policy: Policy | None

    def definition(self) -> dict[str, Any]:
        """Return what the two say together: RabbitMQ's "effective policy definition"."""
        return merge_definitions(*(applied.definition if applied is not None else None for applied in self))


class AppliedNames(NamedTuple):
    """The names of what applies, for display."""

    policy: str | None
    operator_policy: str | None


class _Ranking:
    """Policies of one kind in the order in which they are tried."""

    def __init__(self, component: str) -> None:
        self._component = component
        self._policies: dict[str, tuple[Policy, Pattern]] = {}
        self._ranked: list[tuple[Policy, Pattern]] = []

    def put(self, policy: Policy) -> None:
        if policy.name not in self._policies and len(self._policies) >= POLICIES_MAX:
            raise TooManyPoliciesError(f"component {self._component} is limited to {POLICIES_MAX}")
        self._policies[policy.name] = (policy, Pattern(policy.pattern))
        self._rank()

    def remove(self, name: str) -> Policy | None:
        removed = self._policies.pop(name, None)
        self._rank()
        return removed and removed[0]

    @property
    def count(self) -> int:
        return len(self._ranked)

    def get(self, name: str) -> Policy | None:
        held = self._policies.get(name)
        return held and held[0]

    def policies(self) -> list[Policy]:
        return [policy for policy, _ in self._ranked]

    def for_queue(self, name: str, queue_type: str) -> Policy | None:
        unsupported = UNSUPPORTED_KEYS[queue_type]
        for policy, pattern in self._ranked:
            applies = policy.is_for_queues(queue_type) and unsupported.isdisjoint(policy.definition)
            if applies and pattern.matches(name):
                return policy
        return None

    def for_exchange(self, name: str) -> Policy | None:
        for policy, pattern in self._ranked:
            if policy.is_for_exchanges() and pattern.matches(name):
                return policy
        return None

    def _rank(self) -> None:
        # RabbitMQ leaves it open which of two policies with the same priority applies; here the names decide.
        self._ranked = sorted(self._policies.values(), key=lambda held: (-held[0].priority, held[0].name))


class PolicySet:
    """The policies and the operator policies of one virtual host, by name."""

    def __init__(self) -> None:
        self._user = _Ranking("policy")
        self._operator = _Ranking("operator_policy")

    @property
    def is_empty(self) -> bool:
        """Whether there is no policy of either kind."""
        return not self._user.count and not self._operator.count

    def put(self, policy: Policy, *, operator: bool = False) -> None:
        """Add a policy, or replace the one of that name. Raises ``TooManyPoliciesError``."""
        self._ranking(operator).put(policy)

    def remove(self, name: str, *, operator: bool = False) -> Policy | None:
        """Remove a policy and return it, or None if there is none of that name."""
        return self._ranking(operator).remove(name)

    def get(self, name: str, *, operator: bool = False) -> Policy | None:
        """Return the policy of that name."""
        return self._ranking(operator).get(name)

    def list(self, *, operator: bool = False) -> list[Policy]:
        """Return the policies in the order in which they are tried: highest priority first, then by name."""
        return self._ranking(operator).policies()

    def applied_to_queue(self, name: str, queue_type: str) -> AppliedPolicies:
        """Return what applies to a queue; its type is ``classic``, ``quorum`` or ``stream``."""
        return AppliedPolicies(self._user.for_queue(name, queue_type), self._operator.for_queue(name, queue_type))

    def applied_to_exchange(self, name: str) -> AppliedPolicies:
        """Return what applies to an exchange."""
        return AppliedPolicies(self._user.for_exchange(name), self._operator.for_exchange(name))

    def policy_of_queue(self, name: str, queue_type: str) -> AppliedNames:
        """Return the names of what applies to a queue."""
        return _names(self.applied_to_queue(name, queue_type))

    def policy_of_exchange(self, name: str) -> AppliedNames:
        """Return the names of what applies to an exchange."""
        return _names(self.applied_to_exchange(name))

    def effective_for_queue(self, name: str, queue_type: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the settings of a queue, by key without ``x-``.

        All ``x-`` arguments are in it, as far as no policy overrules them.
        """
        return resolve_arguments(self.applied_to_queue(name, queue_type).definition(), arguments, queue_type)

    def effective_for_exchange(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the settings of an exchange; an argument overrules a policy."""
        definition = self.applied_to_exchange(name).definition()
        settings = {key: value for key, value in definition.items() if key in EXCHANGE_KEYS}
        settings.update((key, arguments[key]) for key in EXCHANGE_KEYS if arguments.get(key) is not None)
        return settings

    def _ranking(self, operator: bool) -> _Ranking:
        return self._operator if operator else self._user


def _names(applied: AppliedPolicies) -> AppliedNames:
    return AppliedNames(*(policy.name if policy is not None else None for policy in applied))
