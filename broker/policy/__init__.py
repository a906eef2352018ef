"""Policies: settings for queues and exchanges in bulk, by the pattern of their names, that can change at any time."""

from broker.policy.policy import Policy
from broker.policy.policy_set import AppliedNames, AppliedPolicies, PolicySet, TooManyPoliciesError
from broker.policy.validation import InvalidPolicyError, validate_policy

__all__ = [
    "AppliedNames",
    "AppliedPolicies",
    "InvalidPolicyError",
    "Policy",
    "PolicySet",
    "TooManyPoliciesError",
    "validate_policy",
]
