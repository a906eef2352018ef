"""Policies in the journal: as definitions, in records and in checkpoints."""

from typing import Any

import pytest

from broker.durability.definitions import PolicyDeleted, PolicyPut, Snapshot, decode, encode
from broker.durability.queue_log import RECORD_KINDS
from broker.durability.replay import Replay
from broker.policy import PolicySet, validate_policy

DEFINITION = {"message-ttl": 1000, "overflow": "reject-publish", "redelivery-delay-multiplier": 1.5, "delayed": True}


def records(*definitions: Any) -> list[Any]:
    return [(RECORD_KINDS["definition"], at, encode(each), None, 0) for at, each in enumerate(definitions, 1)]


def policy_put(name: str, *, operator: bool = False, **options: Any) -> PolicyPut:
    definition = {"max-length": 5} if operator else DEFINITION
    return PolicyPut.of(validate_policy(name, "^é", definition, operator=operator, **options), operator=operator)


@pytest.mark.parametrize(
    "definition",
    [
        policy_put("p", priority=-3, apply_to="quorum_queues"),
        policy_put("p", priority=1.5),
        policy_put("é", operator=True),
        PolicyPut.of(validate_policy("p", "", {"ha-params": ["a", "b"]}), operator=False),
        PolicyDeleted(True, "p"),
        PolicyDeleted(False, "é"),
    ],
)
def test_a_definition_survives(definition: PolicyPut | PolicyDeleted) -> None:
    assert decode(encode(definition)) == definition


def test_a_policy_survives() -> None:
    policy = validate_policy("p", "^q", DEFINITION, priority=7, apply_to="queues")
    restored = decode(encode(PolicyPut.of(policy, operator=False)))
    assert isinstance(restored, PolicyPut)
    assert restored.policy() == policy


def test_the_kinds_in_the_journal_do_not_change() -> None:
    put = PolicyPut(True, "p", "^q", "all", 0, {"max-length": 5})
    assert encode(put) == b"\x97\xa6policy\xc3\xa1p\xa2^q\xa3all\x00\x81\xaamax-length\x05"
    assert encode(PolicyDeleted(False, "p")) == b"\x93\xa7-policy\xc2\xa1p"


def test_records_are_replayed_over_a_checkpoint() -> None:
    replay = Replay()
    replay.take_checkpoint(encode(Snapshot(1, [policy_put("a"), policy_put("a", operator=True), policy_put("b")])))
    replay.messages.take_records(
        records(
            policy_put("a", priority=9),
            PolicyDeleted(False, "b"),
            PolicyDeleted(False, "never there"),
            policy_put("c"),
            PolicyDeleted(True, "c"),
        )
    )
    assert replay.policies == {
        (False, "a"): policy_put("a", priority=9),
        (True, "a"): policy_put("a", operator=True),
        (False, "c"): policy_put("c"),
    }


def test_a_policy_set_comes_back() -> None:
    replay = Replay()
    replay.messages.take_records(records(policy_put("a"), policy_put("o", operator=True)))
    policies = PolicySet()
    for put in replay.policies.values():
        policies.put(put.policy(), operator=put.operator)
    assert policies.policy_of_queue("é", "classic") == ("a", "o")
