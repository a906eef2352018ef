"""Limits of queues, priorities, and who of several consumers gets a message."""

import pytest
from pamqp.commands import Basic, Confirm

from tests.conftest import Connect
from tests.support.raw_client import RawChannel
from tests.support.waiting import until


def test_too_many_bytes_leave_at_the_head(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-max-length-bytes": 10})
    for body in (b"aaaa", b"bbbb", b"cccc"):
        channel.publish(body, name)
    assert channel.bodies(name) == [b"bbbb", b"cccc"]


def test_a_full_queue_refuses_publishes(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.call(Confirm.Select())
    answers = []
    for body in (b"1", b"2"):
        channel.publish(body, name)
        answers.append(channel.client.receive(1).method.name)
    assert answers == ["Basic.Ack", "Basic.Nack"]
    assert channel.bodies(name) == [b"1"]
    channel.publish(b"3", name)
    assert channel.expect(Basic.Ack).delivery_tag == 3


def test_acknowledgements_never_cover_a_refused_publish(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    channel.call(Confirm.Select())
    for number in range(6):
        channel.publish(str(number).encode(), name if number % 2 == 0 else f"{name}-none")
    outcomes: dict[int, bool] = {}
    while len(outcomes) < 6:
        method = channel.client.receive(1).method
        tags = (
            range(max(outcomes, default=0) + 1, method.delivery_tag + 1) if method.multiple else [method.delivery_tag]
        )
        outcomes |= dict.fromkeys(tags, isinstance(method, Basic.Ack))
    assert outcomes == {1: True, 2: True, 3: True, 4: True, 5: False, 6: True}


def test_refused_publishes_can_go_to_the_dead_letters(channel: RawChannel, name: str) -> None:
    dead = channel.declare_queue(f"{name}-dead", exclusive=True)
    arguments = {
        "x-max-length": 1,
        "x-overflow": "reject-publish-dlx",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead,
    }
    channel.declare_queue(name, exclusive=True, arguments=arguments)
    channel.publish(b"1", name)
    channel.publish(b"2", name)
    until(lambda: channel.counts(dead)[0] == 1)
    message = channel.get(dead)
    assert message is not None
    assert (message.body, message.properties.headers["x-death"][0]["reason"]) == (b"2", "maxlen")


def test_higher_priorities_go_first(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-max-priority": 5})
    for number, priority in enumerate([1, None, 5, 3, 200, 1]):
        channel.publish(f"{number}".encode(), name, properties=Basic.Properties(priority=priority))
    assert channel.bodies(name) == [b"2", b"4", b"3", b"0", b"5", b"1"]


def test_a_requeued_message_goes_back_among_its_equals(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-max-priority": 5})
    for body, priority in [(b"a", 1), (b"b", 5), (b"c", 5)]:
        channel.publish(body, name, properties=Basic.Properties(priority=priority))
    message = channel.get(name, no_ack=False)
    assert message is not None
    assert message.body == b"b"
    channel.send(Basic.Nack(delivery_tag=message.method.delivery_tag, requeue=True))
    assert channel.bodies(name) == [b"b", b"c", b"a"]


def test_one_consumer_is_active_until_it_goes(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-single-active-consumer": True})
    for tag in ("one", "two", "three"):
        channel.consume(name, tag, no_ack=True)
    for _ in range(3):
        channel.publish(b"", name)
        assert channel.deliver().method.consumer_tag == "one"
    channel.call(Basic.Cancel(consumer_tag="one"))
    channel.publish(b"", name)
    assert channel.deliver().method.consumer_tag == "two"


def test_consumers_with_higher_priority_get_what_they_can_take(channel: RawChannel, queue: str) -> None:
    channel.send(Basic.Qos(prefetch_count=1))
    channel.expect(Basic.QosOk)
    channel.consume(queue, "low", arguments={"x-priority": -1})
    channel.consume(queue, "high", arguments={"x-priority": 10})
    channel.consume(queue, "normal")
    for _ in range(3):
        channel.publish(b"", queue)
    assert [channel.deliver().method.consumer_tag for _ in range(3)] == ["high", "normal", "low"]


def test_consumers_of_one_priority_take_turns(channel: RawChannel, queue: str) -> None:
    for tag in ("a", "b"):
        channel.consume(queue, tag, no_ack=True, arguments={"x-priority": 5})
    channel.consume(queue, "c", no_ack=True)
    for _ in range(4):
        channel.publish(b"", queue)
    assert [channel.deliver().method.consumer_tag for _ in range(4)] == ["a", "b", "a", "b"]


@pytest.mark.haypile_only
def test_messages_of_a_group_wait_for_each_other(channel: RawChannel, connect: Connect, name: str) -> None:
    channel.declare_queue(name, arguments={"x-group-header": "key"})
    for body, key in [(b"a1", "a"), (b"a2", "a"), (b"b1", "b"), (b"x", None), (b"a3", "a")]:
        channel.publish(body, name, properties=Basic.Properties(headers={"key": key} if key else None))
    channel.expect_silence()
    consumers = [connect().open().channel(1) for _ in range(2)]
    for consumer in consumers:
        consumer.consume(name)
    got: dict[bytes, tuple[RawChannel, int]] = {}

    def collect(count: int) -> None:
        while len(got) < count:
            for consumer in consumers:
                consumer.expect_silence_or(
                    lambda message, by=consumer: got.update({message.body: (by, message.method.delivery_tag)})
                )

    collect(3)
    assert set(got) == {b"a1", b"b1", b"x"}
    by, tag = got[b"a1"]
    by.send(Basic.Nack(delivery_tag=tag, requeue=True))
    del got[b"a1"]
    collect(3)
    assert b"a1" in got
    by, tag = got[b"a1"]
    by.send(Basic.Ack(tag))
    collect(4)
    assert b"a2" in got
    assert b"a3" not in got
    by, tag = got[b"a2"]
    by.send(Basic.Ack(tag))
    collect(5)
    channel.delete_queue(name)
