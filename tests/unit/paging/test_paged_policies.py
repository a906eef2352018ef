"""Policies that come and go while the messages of a queue are paged out (docs/operations.md, docs/policies.md)."""

import random
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Basic

from broker.policy import validate_policy
from broker.queueing.queue import Queue
from tests.support.paging_broker import PagingBroker

pytestmark = pytest.mark.timeout(60)

COUNT = 12
DEAD_LETTERS = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead"}
PERSISTENT = [True, False]


def put_policy(broker: PagingBroker, **definition: Any) -> None:
    named = {key.replace("_", "-"): value for key, value in definition.items()}
    broker.vhost.put_policy(validate_policy("p", "^q$", named))
    broker.settle()


def delete_policy(broker: PagingBroker) -> None:
    broker.vhost.delete_policy("p")
    broker.settle()


def fill(broker: PagingBroker, persistent: bool = True, **arguments: Any) -> Queue:
    """Have a queue with messages most of which are paged out, long after they were published."""
    queue = broker.declare("q", **arguments)
    broker.publish(queue, count=COUNT, persistent=persistent)
    broker.settle()
    assert queue.paged_count() >= COUNT - 2
    broker.pass_time(100_000)
    return queue


def numbers(broker: PagingBroker, name: str) -> list[int]:
    """Take everything out of a queue."""
    bodies = broker.connect().channel().bodies(name)
    broker.settle()
    return [int.from_bytes(body[:4], "big") for body in bodies]


@pytest.mark.parametrize("persistent", PERSISTENT, ids=["persistent", "transient"])
def test_a_time_to_live_counts_from_the_policy_on_and_nothing_has_to_be_read(
    broker: PagingBroker, persistent: bool
) -> None:
    queue = fill(broker, persistent)
    put_policy(broker, message_ttl=1000)
    broker.pass_time(999)
    assert queue.ready_count() == COUNT
    before = broker.vhost.journal.journal.sequence
    broker.pass_time(1)
    assert (queue.ready_count(), queue.paged_count(), broker.live_count) == (0, 0, 0)
    assert broker.vhost.pager.reading_count == 0
    # Nothing but what was settled has been written.
    assert broker.vhost.journal.journal.sequence <= before + 3


def test_what_expires_goes_to_the_dead_letters_in_its_order(broker: PagingBroker) -> None:
    dead = broker.declare("dead")
    queue = fill(broker, **DEAD_LETTERS)
    put_policy(broker, message_ttl=1000)
    broker.pass_time(1000)
    assert (queue.ready_count(), dead.ready_count()) == (0, COUNT)
    assert numbers(broker, "dead") == list(range(COUNT))
    assert broker.live_count == 0


def test_what_was_read_since_expires_with_the_others(broker: PagingBroker) -> None:
    queue = fill(broker)
    put_policy(broker, message_ttl=1000)
    broker.pass_time(500)
    channel = broker.connect().channel()
    got = [channel.get("q", no_ack=False) for _ in range(COUNT // 2)]
    for message in got:
        assert message is not None
        channel.send(Basic.Nack(message.method.delivery_tag, requeue=True))
    broker.settle()
    assert queue.ready_count() == COUNT
    broker.pass_time(499)
    assert queue.ready_count() == COUNT
    broker.pass_time(1)
    assert (queue.ready_count(), broker.live_count) == (0, 0)


def test_a_time_to_live_that_changes_and_goes(broker: PagingBroker) -> None:
    queue = fill(broker)
    put_policy(broker, message_ttl=1000)
    broker.pass_time(500)
    put_policy(broker, message_ttl=5000)
    broker.pass_time(4000)
    assert queue.ready_count() == COUNT
    delete_policy(broker)
    broker.pass_time(100_000)
    assert queue.ready_count() == COUNT
    put_policy(broker, message_ttl=200_000)
    # Another setting does not make them young again.
    for limit in (1000, 2000):
        broker.pass_time(50_000)
        put_policy(broker, message_ttl=200_000, max_length=limit)
    broker.pass_time(100_000)
    assert queue.ready_count() == 0


def test_a_time_to_live_holds_after_a_restart(broker: PagingBroker) -> None:
    fill(broker)
    put_policy(broker, message_ttl=1000)
    broker.pass_time(600)
    broker.crash()
    broker.start()
    broker.settle()
    assert broker.vhost.queues["q"].ready_count() == COUNT
    broker.pass_time(1000)
    assert broker.vhost.queues["q"].ready_count() == 0


@pytest.mark.parametrize("persistent", PERSISTENT, ids=["persistent", "transient"])
@pytest.mark.parametrize("limit", [{"max_length": 5}, {"max_length_bytes": 20}], ids=["count", "bytes"])
def test_a_limit_drops_the_head_unread(broker: PagingBroker, limit: dict[str, int], persistent: bool) -> None:
    queue = fill(broker, persistent)
    put_policy(broker, **limit)
    assert (queue.ready_count(), queue.ready_bytes()) == (5, 20)
    broker.publish(queue)
    broker.settle()
    assert numbers(broker, "q") == [*range(COUNT - 4, COUNT), 0]
    assert broker.live_count == 0


def test_what_is_over_a_limit_goes_to_the_dead_letters_in_its_order(broker: PagingBroker) -> None:
    broker.declare("dead")
    queue = fill(broker)
    put_policy(broker, max_length=5, **{"dead-letter-exchange": "", "dead-letter-routing-key": "dead"})
    assert queue.ready_count() == 5
    assert numbers(broker, "dead") == list(range(COUNT - 5))
    assert numbers(broker, "q") == list(range(COUNT - 5, COUNT))
    assert broker.live_count == 0


def test_a_limit_that_rejects_counts_what_is_paged_out(broker: PagingBroker) -> None:
    queue = fill(broker)
    put_policy(broker, max_length=COUNT, overflow="reject-publish")
    broker.publish(queue)
    assert queue.ready_count() == COUNT
    assert broker.connect().channel().get("q") is not None
    broker.publish(queue)
    assert queue.ready_count() == COUNT
    delete_policy(broker)
    broker.publish(queue)
    assert queue.ready_count() == COUNT + 1


def test_a_queue_that_expires_as_a_whole_needs_nothing_any_more(broker: PagingBroker) -> None:
    fill(broker)
    put_policy(broker, expires=1000)
    broker.pass_time(1000)
    assert "q" not in broker.vhost.queues
    assert broker.live_count == 0


def test_groups_hold_as_soon_as_messages_are_read(broker: PagingBroker) -> None:
    """Of each group one message is out at a time, in order; several consumers cannot change that."""
    queue = broker.declare("q")
    for number in range(COUNT):
        broker.publish(queue, headers={"key": "ab"[number % 2]}, message_id=str(number))
    broker.settle()
    assert queue.paged_count() >= COUNT - 2
    put_policy(broker, group_header="key")
    channel = broker.connect().channel()
    channel.consume("q")
    channel.consume("q", "another")
    seen = []
    while len(seen) < COUNT:
        out = [channel.deliver() for _ in range(min(2, COUNT - len(seen)))]
        channel.expect_silence()
        assert sorted(int(message.properties.message_id) % 2 for message in out) == [0, 1]
        for message in out:
            seen.append(int(message.properties.message_id))
            channel.send(Basic.Ack(message.method.delivery_tag))
    assert [number for number in seen if number % 2] == list(range(1, COUNT, 2))
    assert [number for number in seen if number % 2 == 0] == list(range(0, COUNT, 2))


def test_priorities_come_and_go(broker: PagingBroker) -> None:
    """Whatever is in memory when, each message comes once, and those of one priority in their order."""
    chance = random.Random(5)
    queue = broker.declare("q")
    priorities = [chance.randrange(4) for _ in range(4 * COUNT)]
    for number, priority in enumerate(priorities):
        broker.publish(queue, priority=priority, message_id=str(number))
    broker.settle()
    channel = broker.connect().channel()
    seen: list[int] = []
    for definition in ({"max_priority": 3}, {"max_length": 1000}, {"max_priority": 2}, {"message_ttl": 1 << 30}):
        put_policy(broker, **definition)
        for _ in range(COUNT):
            message = channel.get("q")
            assert message is not None
            seen.append(int(message.properties.message_id))
    assert channel.get("q") is None
    assert sorted(seen) == list(range(4 * COUNT))
    for priority in range(4):
        of_one = [number for number in seen if priorities[number] == priority]
        assert of_one == sorted(of_one)
    broker.settle()
    assert broker.live_count == 0


def test_with_room_for_all_of_them_the_highest_priority_comes_first(tmp_path: Path) -> None:
    broker = PagingBroker(tmp_path, message_memory_bytes=1 << 20)
    queue = broker.declare("q")
    for number in range(COUNT):
        broker.publish(queue, priority=number % 3, message_id=str(number))
    broker.settle()
    broker.vhost.pager.page_out(queue, 0, COUNT)
    assert queue.paged_count() == COUNT
    put_policy(broker, max_priority=2)
    messages = [broker.connect().channel().get("q") for _ in range(COUNT)]
    read = [int(message.properties.message_id) for message in messages if message is not None]
    assert read == sorted(range(COUNT), key=lambda number: (-(number % 3), number))
    broker.crash()
