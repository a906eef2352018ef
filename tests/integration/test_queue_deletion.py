"""Purging and deleting queues, and queues that delete themselves."""

import pytest
from pamqp.commands import Basic, Queue

from tests.support.raw_client import RawChannel


def no_queue(name: str) -> str:
    return f"NOT_FOUND - no queue '{name}' in vhost '/'"


def fill(channel: RawChannel, queue: str, count: int) -> None:
    for number in range(count):
        channel.publish(str(number).encode(), queue)
    channel.expect_silence()


def test_purge_counts_what_it_removed(channel: RawChannel, queue: str) -> None:
    fill(channel, queue, 5)
    assert channel.call(Queue.Purge(queue=queue)).message_count == 5
    assert channel.call(Queue.Purge(queue=queue)).message_count == 0
    assert channel.get(queue) is None


def test_purge_leaves_what_is_unacknowledged(channel: RawChannel, queue: str) -> None:
    fill(channel, queue, 3)
    first = channel.get(queue, no_ack=False)
    assert first is not None
    assert channel.call(Queue.Purge(queue=queue)).message_count == 2
    channel.send(Basic.Reject(first.method.delivery_tag, requeue=True))
    assert channel.bodies(queue) == [b"0"]


def test_purging_an_unknown_queue(channel: RawChannel, name: str) -> None:
    channel.refused(Queue.Purge(queue=name), 404, no_queue(name))


def test_delete_counts_the_ready_messages(channel: RawChannel, queue: str) -> None:
    fill(channel, queue, 4)
    assert channel.get(queue, no_ack=False) is not None
    assert channel.delete_queue(queue) == 3
    channel.refused(Queue.Declare(queue=queue, passive=True), 404, no_queue(queue))


def test_deleting_what_is_not_there_is_no_error(channel: RawChannel, name: str) -> None:
    assert channel.delete_queue(name) == 0
    assert channel.delete_queue(name, if_unused=True, if_empty=True) == 0


def test_a_queue_in_use_is_not_deleted_if_unused(channel: RawChannel, queue: str) -> None:
    other = channel.client.channel(2)
    tag = other.consume(queue)
    text = f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"
    again = channel.refused(Queue.Delete(queue=queue, if_unused=True), 406, text)
    other.call(Basic.Cancel(tag))
    assert again.delete_queue(queue, if_unused=True) == 0


def test_a_queue_with_messages_is_not_deleted_if_empty(channel: RawChannel, queue: str) -> None:
    fill(channel, queue, 1)
    text = f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"
    again = channel.refused(Queue.Delete(queue=queue, if_empty=True), 406, text)
    assert again.bodies(queue) == [b"0"]
    assert again.delete_queue(queue, if_empty=True) == 0


def test_not_empty_is_said_before_in_use(channel: RawChannel, queue: str) -> None:
    other = channel.client.channel(2)
    other.call(Basic.Qos(prefetch_count=1))
    other.consume(queue)
    fill(channel, queue, 3)
    text = f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"
    channel.refused(Queue.Delete(queue=queue, if_unused=True, if_empty=True), 406, text)


def test_a_deleted_queue_is_routed_to_no_more(channel: RawChannel, name: str, queue: str) -> None:
    channel.bind(queue, "amq.direct", name)
    channel.publish(b"routed", name, "amq.direct", mandatory=True)
    channel.delete_queue(queue)
    channel.publish(b"returned", name, "amq.direct", mandatory=True)
    assert channel.receive_message(Basic.Return).body == b"returned"
    channel.declare_queue(queue, exclusive=True)
    channel.publish(b"unbound", name, "amq.direct", mandatory=True)
    assert channel.receive_message(Basic.Return).body == b"unbound"


def test_what_was_delivered_from_a_deleted_queue_may_be_acknowledged(channel: RawChannel, queue: str) -> None:
    fill(channel, queue, 3)
    tags = [message.method.delivery_tag for message in (channel.get(queue, no_ack=False) for _ in range(3)) if message]
    channel.delete_queue(queue)
    channel.send(Basic.Ack(tags[0]))
    channel.send(Basic.Reject(tags[1], requeue=True))
    channel.send(Basic.Nack(tags[2], requeue=False))
    channel.expect_silence()


@pytest.mark.parametrize("ending", ["cancel", "channel close"])
def test_an_auto_delete_queue_goes_with_its_last_consumer(channel: RawChannel, name: str, ending: str) -> None:
    channel.declare_queue(name, auto_delete=True)
    fill(channel, name, 1)
    assert channel.get(name, no_ack=False) is not None
    first, last = channel.client.channel(2), channel.client.channel(3)
    tags = [consumer.consume(name) for consumer in (first, last)]
    first.call(Basic.Cancel(tags[0]))
    assert channel.counts(name)[1] == 1
    if ending == "cancel":
        last.call(Basic.Cancel(tags[1]))
    else:
        last.close()
    channel.refused(Queue.Declare(queue=name, passive=True), 404, no_queue(name))


def test_an_auto_delete_queue_without_consumers_stays(channel: RawChannel, name: str) -> None:
    channel.client.channel(2).declare_queue(name, auto_delete=True)
    fill(channel, name, 1)
    assert channel.bodies(name) == [b"0"]
    assert channel.counts(name) == (0, 0)
    channel.delete_queue(name)
