"""A long queue gets priorities or groups, or loses what is in its groups, in slices of the turn."""

import pytest
from pamqp.commands import Basic, Queue

from broker import purges
from broker.policy import Policy
from broker.queueing.queue import Queue as BrokerQueue
from broker.turn import HANDED_OVER_AT_ONCE_MAX
from tests.support.in_process import InProcessBroker
from tests.support.raw_client import RawChannel, content, frame, method_payload

LONG = 3 * HANDED_OVER_AT_ONCE_MAX + 100
BLOCK = 500


def fill(broker: InProcessBroker, count: int = LONG, **arguments: object) -> tuple[RawChannel, BrokerQueue]:
    """Fill a queue with messages of three priorities and keys, whose bodies are their numbers."""
    channel = broker.connect().channel(1)
    channel.declare_queue("q", arguments=dict(arguments))
    publish(channel, 0, count)
    queue: BrokerQueue = broker.vhost.queues["q"]
    assert queue.ready_count() == count
    return channel, queue


def publish(channel: RawChannel, first: int, count: int) -> None:
    head = frame(1, 1, method_payload(Basic.Publish(routing_key="q")))
    for begin in range(first, first + count, BLOCK):
        octets = []
        for number in range(begin, min(begin + BLOCK, first + count)):
            properties = Basic.Properties(priority=number % 3, headers={"key": str(number % 3)})
            octets.append(head + content(1, b"%d" % number, properties))
        channel.client.send_bytes(b"".join(octets))
        channel.client.broker.turns()  # type: ignore[attr-defined]


def follow(broker: InProcessBroker, **definition: object) -> None:
    named = {name.replace("_", "-"): value for name, value in definition.items()}
    broker.vhost.put_policy(Policy(name="p", pattern="q", definition=named))


def turns_taken(broker: InProcessBroker) -> int:
    count = 0
    while broker.loop.ready:
        broker.pass_turn()
        count += 1
    return count


def by_priority(numbers: range) -> list[int]:
    return sorted(numbers, key=lambda number: (-(number % 3), number))


def left(channel: RawChannel) -> list[int]:
    return [int(body) for body in channel.bodies("q")]


def test_a_long_queue_gets_priorities_in_slices(broker: InProcessBroker) -> None:
    channel, queue = fill(broker)
    follow(broker, max_priority=2)
    size_bytes = queue.ready_bytes()
    assert queue.ready_count() == LONG
    assert turns_taken(broker) >= LONG // HANDED_OVER_AT_ONCE_MAX
    assert (queue.ready_count(), queue.ready_bytes()) == (LONG, size_bytes)
    assert left(channel) == by_priority(range(LONG))


def test_a_consumer_gets_the_highest_priority_first_all_the_same(broker: InProcessBroker) -> None:
    channel, _ = fill(broker)
    follow(broker, max_priority=2)
    channel.send(Basic.Consume(queue="q", no_ack=True, consumer_tag="c", nowait=True))
    assert not channel.client.transport.sent  # type: ignore[attr-defined]
    expected = by_priority(range(LONG))[:100]
    assert [int(channel.deliver().body) for _ in range(100)] == expected


def test_a_long_queue_gets_groups_in_slices(broker: InProcessBroker) -> None:
    channel, queue = fill(broker)
    follow(broker, group_header="key")
    assert turns_taken(broker) >= LONG // HANDED_OVER_AT_ONCE_MAX
    assert queue.ready_count() == LONG
    channel.call(Basic.Consume(queue="q", consumer_tag="c"))
    assert [int(channel.deliver().body) for _ in range(3)] == [0, 1, 2]
    channel.expect_silence()
    channel.send(Basic.Ack(1))
    assert int(channel.deliver().body) == 3


def test_settings_may_change_again_before_everything_is_at_its_place(broker: InProcessBroker) -> None:
    channel, queue = fill(broker)
    follow(broker, max_priority=2)
    broker.pass_turn()
    follow(broker, max_priority=1)
    broker.pass_turn()
    follow(broker, max_priority=2, message_ttl=5_000)
    broker.pass_turn()
    publish(channel, LONG, 30)
    assert queue.ready_count() == LONG + 30
    broker.turns()
    got = left(channel)
    assert got == by_priority(range(LONG + 30))


def test_what_is_not_at_its_place_expires_in_time(broker: InProcessBroker) -> None:
    channel, queue = fill(broker)
    follow(broker, message_ttl=1_000)
    broker.turns()
    follow(broker, message_ttl=1_000, max_priority=2)
    broker.pass_clock(2_000)
    channel.publish(b"-1", "q")
    broker.settle()
    broker.pass_time(0)
    assert left(channel) == [-1]
    assert queue.memory_bytes() == 0


def test_basic_get_does_not_wait_until_everything_is_at_its_place(broker: InProcessBroker) -> None:
    channel, queue = fill(broker)
    follow(broker, max_priority=2)
    channel.send(Basic.Get(queue="q", no_ack=True))
    message = channel.receive_message(Basic.GetOk)
    assert int(message.body) == 2
    assert queue.ready_count() == LONG - 1


@pytest.mark.parametrize("deleted", [False, True])
def test_a_queue_may_be_emptied_meanwhile(broker: InProcessBroker, deleted: bool) -> None:
    channel, queue = fill(broker)
    follow(broker, max_priority=2)
    answer = channel.call(Queue.Delete(queue="q") if deleted else Queue.Purge(queue="q"))
    assert answer.message_count == LONG
    broker.turns()
    assert queue.ready_count() == 0
    assert broker.vhost.budget.used_bytes == 0
    if not deleted:
        publish(channel, 0, 6)
        assert left(channel) == [2, 5, 1, 4, 0, 3]


def test_too_many_are_dropped_when_everything_is_at_its_place(broker: InProcessBroker) -> None:
    channel, queue = fill(broker)
    follow(broker, max_priority=2, max_length=10)
    broker.turns()
    assert queue.ready_count() == 10
    assert left(channel) == by_priority(range(LONG))[-10:]


def drop_less(broker: InProcessBroker, channel: RawChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a thousand messages dropped in a turn, from the next one on."""
    monkeypatch.setattr(purges, "DROPPED_PER_TURN_MAX", 1_000)
    channel.declare_queue("other")
    channel.publish(b"", "other")
    broker.vhost.queues["other"].purge()
    broker.turns()


def test_what_waits_in_groups_is_dropped_in_slices(broker: InProcessBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    channel, queue = fill(broker, **{"x-group-header": "key"})
    drop_less(broker, channel, monkeypatch)
    channel.call(Basic.Consume(queue="q", consumer_tag="c"))
    assert [int(channel.deliver().body) for _ in range(3)] == [0, 1, 2]
    finished: list[bool] = []
    broker.turns()
    assert queue.purge(lambda: finished.append(True)) == LONG - 3
    assert queue.ready_count() == 0
    # Its keys are busy still, while it goes and afterwards.
    publish_one = frame(1, 1, method_payload(Basic.Publish(routing_key="q")))
    zero = Basic.Properties(headers={"key": "0"})
    channel.client.send_bytes(publish_one + content(1, b"9000", zero))
    broker.pass_turn()
    assert not finished
    assert queue.ready_count() == 1
    channel.send(Basic.Ack(2))
    assert turns_taken(broker) >= 3
    assert finished
    one = Basic.Properties(headers={"key": "1"})
    two = Basic.Properties(headers={"key": "2"})
    channel.client.send_bytes(publish_one + content(1, b"9001", one) + publish_one + content(1, b"9002", two))
    assert int(channel.deliver().body) == 9001
    channel.expect_silence()
    channel.send(Basic.Ack(3))
    assert int(channel.deliver().body) == 9002
    channel.send(Basic.Ack(1))
    assert int(channel.deliver().body) == 9000
    channel.send(Basic.Ack(0, True))
    broker.turns()
    assert (queue.ready_count(), queue.unacked_count) == (0, 0)


def test_a_group_queue_is_purged_again_before_the_first_is_done(
    broker: InProcessBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, queue = fill(broker, **{"x-group-header": "key"})
    drop_less(broker, channel, monkeypatch)
    channel.call(Basic.Qos(prefetch_count=1))
    channel.call(Basic.Consume(queue="q", consumer_tag="c"))
    assert int(channel.deliver().body) == 0
    queue.purge()
    channel.client.send_bytes(
        frame(1, 1, method_payload(Basic.Publish(routing_key="q")))
        + content(1, b"again", Basic.Properties(headers={"key": "0"}))
    )
    assert queue.purge() == 1
    broker.turns()
    channel.publish(b"last", "q", properties=Basic.Properties(headers={"key": "0"}))
    channel.expect_silence()
    channel.send(Basic.Ack(1))
    assert channel.deliver().body == b"last"
    assert broker.vhost.budget.used_bytes == 0
