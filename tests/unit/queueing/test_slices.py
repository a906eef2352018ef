"""A change of its settings reaches a long queue in slices, without the event loop waiting for it."""

from itertools import pairwise
from typing import Any

import pytest
from pamqp.commands import Basic

from broker.policy import Policy
from broker.queueing.queue import ARRIVAL_DROPS_MAX, DUE_COUNT_MAX, Queue
from tests.support.in_process import InProcessBroker
from tests.support.raw_client import RawChannel

LONG = 3 * DUE_COUNT_MAX + 100


def fill(channel: RawChannel, broker: InProcessBroker, count: int = LONG, **arguments: Any) -> Queue:
    channel.declare_queue("q", **arguments)
    for number in range(count):
        channel.publish(str(number).encode(), "q")
    broker.turns()
    queue: Queue = broker.vhost.queues["q"]
    assert queue.ready_count() == count
    return queue


def follow(broker: InProcessBroker, **definition: Any) -> None:
    named = {name.replace("_", "-"): value for name, value in definition.items()}
    broker.vhost.put_policy(Policy(name="p", pattern="q", definition=named))


def left(channel: RawChannel) -> list[int]:
    return [int(body) for body in channel.bodies("q")]


def test_a_long_queue_becomes_managed_and_stays_as_it_is(channel: RawChannel, broker: InProcessBroker) -> None:
    queue = fill(channel, broker)
    follow(broker, delivery_limit=5)
    # There is nothing to be done about any of its messages.
    broker.pass_turn()
    assert not broker.loop.ready
    assert queue.ready_count() == LONG
    assert queue.ready_bytes() == sum(len(str(number)) for number in range(LONG))
    assert left(channel) == list(range(LONG))


def test_a_message_that_expires_joins_a_long_queue(channel: RawChannel, broker: InProcessBroker) -> None:
    queue = fill(channel, broker)
    channel.publish(b"-1", "q", properties=Basic.Properties(expiration="1000"))
    channel.publish(str(LONG).encode(), "q")
    broker.turns()
    broker.pass_time(2000)
    assert queue.ready_count() == LONG + 1
    assert left(channel) == list(range(LONG + 1))


@pytest.mark.parametrize("arguments", [{}, {"x-delivery-limit": 5}], ids=["plain", "managed"])
def test_a_time_to_live_reaches_a_long_queue_in_slices(
    channel: RawChannel, broker: InProcessBroker, arguments: dict[str, Any]
) -> None:
    queue = fill(channel, broker, arguments=arguments)
    follow(broker, message_ttl=10_000)
    turns = 0
    while broker.loop.ready:
        broker.pass_turn()
        turns += 1
    assert turns >= LONG // DUE_COUNT_MAX
    broker.pass_time(9_999)
    assert queue.ready_count() == LONG
    broker.pass_time(2)
    assert queue.ready_count() == 0


def test_messages_may_come_and_go_while_the_time_to_live_spreads(channel: RawChannel, broker: InProcessBroker) -> None:
    queue = fill(channel, broker)
    follow(broker, message_ttl=10_000)
    # Of the other half it is not known yet when they expire.
    taken = [channel.get("q", no_ack=False) for _ in range(LONG // 2)]
    assert all(taken)
    channel.publish(b"new", "q")
    channel.send(Basic.Nack(delivery_tag=10, multiple=True, requeue=True))
    broker.turns()
    assert queue.ready_count() == LONG - LONG // 2 + 10 + 1
    broker.pass_time(10_001)
    assert queue.ready_count() == 0
    channel.send(Basic.Nack(delivery_tag=0, multiple=True, requeue=True))
    broker.settle()
    assert left(channel) == []


def test_a_longer_time_to_live_takes_the_place_of_a_short_one(channel: RawChannel, broker: InProcessBroker) -> None:
    queue = fill(channel, broker)
    follow(broker, message_ttl=1_000)
    follow(broker, message_ttl=60_000)
    broker.pass_time(2_000)
    assert queue.ready_count() == LONG
    broker.vhost.delete_policy("p")
    broker.pass_time(100_000)
    assert queue.ready_count() == LONG


def test_a_limit_drops_what_is_too_much_in_slices(channel: RawChannel, broker: InProcessBroker) -> None:
    queue = fill(channel, broker)
    follow(broker, max_length=10)
    counts = [LONG, queue.ready_count()]
    while broker.loop.ready:
        broker.pass_turn()
        counts.append(queue.ready_count())
    dropped = [before - after for before, after in pairwise(counts)]
    assert max(dropped) == DUE_COUNT_MAX
    assert left(channel) == list(range(LONG - 10, LONG))


def test_an_arrival_in_a_queue_that_is_far_too_long_does_not_do_it_all(
    channel: RawChannel, broker: InProcessBroker
) -> None:
    queue = fill(channel, broker)
    follow(broker, max_length=10)
    before = queue.ready_count()
    channel.publish(str(LONG).encode(), "q")
    assert queue.ready_count() == before + 1 - ARRIVAL_DROPS_MAX
    assert left(channel) == list(range(LONG - 9, LONG + 1))
