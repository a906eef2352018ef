"""Consumers: tags, exclusivity, fairness, and how they end."""

import re

import pytest
from pamqp.commands import Basic, Queue

from tests.conftest import Connect
from tests.support.raw_client import ALL_CAPABILITIES, RawChannel


def no_queue(name: str) -> str:
    return f"NOT_FOUND - no queue '{name}' in vhost '/'"


def test_a_delivery_says_where_it_comes_from(channel: RawChannel, name: str, queue: str) -> None:
    channel.bind(queue, "amq.topic", "a.*")
    channel.consume(queue, name)
    channel.publish(b"m", "a.b", "amq.topic")
    channel.publish(b"n", queue)
    first, second = channel.deliver().method, channel.deliver().method
    assert dict(first) == {
        "consumer_tag": name,
        "delivery_tag": 1,
        "redelivered": False,
        "exchange": "amq.topic",
        "routing_key": "a.b",
    }
    assert (second.delivery_tag, second.exchange, second.routing_key) == (2, "", queue)


def test_the_broker_makes_up_tags(channel: RawChannel, queue: str) -> None:
    tags = {channel.consume(queue) for _ in range(10)}
    assert len(tags) == 10
    assert all(re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", tag) for tag in tags)


def test_consume_ok_precedes_the_deliveries(channel: RawChannel, queue: str) -> None:
    channel.publish(b"waiting", queue)
    channel.send(Basic.Consume(queue=queue, consumer_tag="t"))
    channel.expect(Basic.ConsumeOk)
    assert channel.deliver().body == b"waiting"


def test_a_tag_is_used_once_in_a_channel(channel: RawChannel, queue: str) -> None:
    channel.consume(queue, "t")
    channel.client.channel(2).consume(queue, "t")
    channel.send(Basic.Consume(queue=queue, consumer_tag="t"))
    channel.client.expect_connection_close(530, "NOT_ALLOWED - attempt to reuse consumer tag 't'", Basic.Consume)


def test_a_tag_is_looked_at_before_the_queue(channel: RawChannel, name: str, queue: str) -> None:
    channel.consume(queue, "t")
    channel.send(Basic.Consume(queue=f"{name}-none", consumer_tag="t"))
    channel.client.expect_connection_close(530, "NOT_ALLOWED - attempt to reuse consumer tag 't'", Basic.Consume)


def test_a_tag_may_be_used_again_after_its_end(channel: RawChannel, queue: str) -> None:
    for _ in range(2):
        channel.consume(queue, "t")
        assert channel.call(Basic.Cancel("t")).consumer_tag == "t"


def test_consuming_an_unknown_queue(channel: RawChannel, name: str) -> None:
    channel.refused(Basic.Consume(queue=name), 404, no_queue(name))


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_an_exclusive_consumer_is_alone(channel: RawChannel, queue: str, first: bool, second: bool) -> None:
    other = channel.client.channel(2)
    other.consume(queue, exclusive=first)
    text = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    channel.refused(Basic.Consume(queue=queue, exclusive=second), 403, text)


def test_after_an_exclusive_consumer_others_may_come(channel: RawChannel, queue: str) -> None:
    other = channel.client.channel(2)
    other.consume(queue, "alone", exclusive=True)
    other.call(Basic.Cancel("alone"))
    channel.consume(queue)
    channel.consume(queue)


def test_no_local_has_no_effect(channel: RawChannel, queue: str) -> None:
    channel.consume(queue, no_local=True)
    channel.publish(b"from here", queue)
    assert channel.deliver().body == b"from here"


def test_nothing_is_answered_to_nowait(channel: RawChannel, queue: str) -> None:
    channel.send(Basic.Consume(queue=queue, consumer_tag="t", nowait=True))
    channel.publish(b"m", queue)
    assert channel.deliver().method.consumer_tag == "t"
    channel.send(Basic.Cancel("t", nowait=True))
    channel.expect_silence()
    channel.publish(b"n", queue)
    assert channel.bodies(queue) == [b"n"]


def test_cancelling_an_unknown_tag_is_no_error(channel: RawChannel) -> None:
    assert channel.call(Basic.Cancel("nobody")).consumer_tag == "nobody"


def test_what_a_cancelled_consumer_had_can_still_be_acknowledged(channel: RawChannel, queue: str) -> None:
    tag = channel.consume(queue)
    for body in (b"a", b"b"):
        channel.publish(body, queue)
    channel.deliver_many(2)
    channel.call(Basic.Cancel(tag))
    channel.publish(b"c", queue)
    channel.send(Basic.Ack(1))
    channel.send(Basic.Reject(2, requeue=True))
    assert channel.bodies(queue) == [b"b", b"c"]


def test_consumers_take_turns(channel: RawChannel, queue: str) -> None:
    consumers = [channel.client.channel(number) for number in (2, 3, 4)]
    for consumer in consumers:
        consumer.consume(queue, no_ack=True)
    for number in range(12):
        channel.publish(str(number).encode(), queue)
    shares = [consumer.deliver_many(4) for consumer in consumers]
    assert sorted(int(body) for share in shares for body in share) == list(range(12))
    assert [[int(body) % 3 for body in share] for share in shares] == [[0] * 4, [1] * 4, [2] * 4]


def test_consumers_of_one_channel_take_turns(channel: RawChannel, queue: str) -> None:
    for tag in ("a", "b"):
        channel.consume(queue, tag, no_ack=True)
    for _ in range(6):
        channel.publish(b"m", queue)
    deliveries = [channel.deliver().method for _ in range(6)]
    assert [delivery.consumer_tag for delivery in deliveries] == ["a", "b"] * 3
    assert [delivery.delivery_tag for delivery in deliveries] == [1, 2, 3, 4, 5, 6]


def test_the_end_of_a_queue_is_told_to_consumers_that_understand_it(
    connect: Connect, channel: RawChannel, name: str
) -> None:
    channel.declare_queue(name)
    listening = connect().open().channel(1)
    listening.consume(name, "t")
    channel.delete_queue(name)
    cancel = listening.expect(Basic.Cancel)
    assert (cancel.consumer_tag, cancel.nowait) == ("t", True)
    listening.declare_queue(name, exclusive=True)
    listening.consume(name, "t")


@pytest.mark.since_rabbitmq_4
def test_the_clients_answer_to_a_cancellation_is_taken(channel: RawChannel, queue: str) -> None:
    channel.consume(queue, "t")
    channel.client.channel(2).delete_queue(queue)
    channel.expect(Basic.Cancel)
    channel.send(Basic.CancelOk("t"))
    channel.expect_silence()


def test_the_end_of_a_queue_is_not_told_to_others(connect: Connect, channel: RawChannel, name: str) -> None:
    channel.declare_queue(name)
    deaf = connect().open(capabilities=ALL_CAPABILITIES | {"consumer_cancel_notify": False}).channel(1)
    deaf.consume(name, "t")
    channel.delete_queue(name)
    deaf.refused(Queue.Declare(queue=name, passive=True), 404, no_queue(name))


def test_the_channel_that_deletes_is_told_too(channel: RawChannel, queue: str) -> None:
    channel.consume(queue, "t")
    channel.send(Queue.Delete(queue=queue))
    answers = {type(channel.client.receive(1).method) for _ in range(2)}
    assert answers == {Basic.Cancel, Queue.DeleteOk}


def test_a_consumer_without_acknowledgements_is_not_held_back(channel: RawChannel, queue: str) -> None:
    channel.call(Basic.Qos(prefetch_count=1))
    channel.consume(queue, no_ack=True)
    for _ in range(10):
        channel.publish(b"m", queue)
    channel.deliver_many(10)
    text = "PRECONDITION_FAILED - unknown delivery tag 1"
    channel.refused(Basic.Ack(1), 406, text)


@pytest.mark.parametrize("ending", ["cancel", "channel", "connection", "cut"])
def test_a_consumer_that_is_gone_gets_nothing(connect: Connect, channel: RawChannel, name: str, ending: str) -> None:
    channel.declare_queue(name)
    consumer = connect().open().channel(1)
    tag = consumer.consume(name, no_ack=True)
    match ending:
        case "cancel":
            consumer.call(Basic.Cancel(tag))
        case "channel":
            consumer.close()
        case "connection":
            consumer.client.close()
        case "cut":
            consumer.client.socket.close()
            while channel.counts(name) != (0, 0):
                pass
    channel.publish(b"m", name)
    assert channel.bodies(name) == [b"m"]
    channel.delete_queue(name)
