"""Time to live: of messages by their queue and by themselves, and of whole queues."""

import time
from typing import Any

import pytest
from pamqp.commands import Basic, Confirm, Queue

from tests.conftest import Connect, StartBroker
from tests.support.raw_client import RawChannel
from tests.support.waiting import until


def publish_expiring(channel: RawChannel, queue: str, body: bytes, expiration: str, **properties: Any) -> None:
    channel.publish(body, queue, properties=Basic.Properties(expiration=expiration, **properties))


def test_messages_expire_by_the_queue(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-message-ttl": 50})
    channel.publish(b"1", name)
    assert channel.counts(name)[0] == 1
    until(lambda: channel.counts(name)[0] == 0)
    assert channel.get(name) is None


def test_the_shorter_of_both_times_holds(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-message-ttl": 60_000})
    publish_expiring(channel, name, b"short", "30")
    until(lambda: channel.counts(name)[0] == 0)
    channel.delete_queue(name)
    channel.declare_queue(name, exclusive=True, arguments={"x-message-ttl": 30})
    publish_expiring(channel, name, b"long", "60000")
    until(lambda: channel.counts(name)[0] == 0)


@pytest.mark.haypile_only
def test_a_message_expires_on_time_behind_others_that_do_not(channel: RawChannel, queue: str) -> None:
    channel.publish(b"stays", queue)
    publish_expiring(channel, queue, b"goes", "30")
    channel.publish(b"stays too", queue)
    until(lambda: channel.counts(queue)[0] == 2)
    assert channel.bodies(queue) == [b"stays", b"stays too"]


def test_what_expires_at_once_reaches_a_consumer_that_waits(channel: RawChannel, queue: str) -> None:
    publish_expiring(channel, queue, b"nobody", "0")
    assert channel.get(queue) is None
    channel.consume(queue)
    publish_expiring(channel, queue, b"somebody", "0")
    message = channel.deliver()
    assert message.body == b"somebody"
    assert message.properties.expiration == "0"


def test_a_requeued_message_keeps_its_time(channel: RawChannel, queue: str) -> None:
    publish_expiring(channel, queue, b"1", "100")
    message = channel.get(queue, no_ack=False)
    assert message is not None
    deadline = time.monotonic() + 0.1
    until(lambda: time.monotonic() > deadline)
    channel.send(Basic.Nack(delivery_tag=message.method.delivery_tag, requeue=True))
    assert channel.get(queue) is None


def test_a_message_in_the_hands_of_a_consumer_does_not_expire(channel: RawChannel, queue: str) -> None:
    publish_expiring(channel, queue, b"1", "20")
    message = channel.get(queue, no_ack=False)
    assert message is not None
    deadline = time.monotonic() + 0.05
    until(lambda: time.monotonic() > deadline)
    channel.send(Basic.Ack(message.method.delivery_tag))
    channel.expect_silence()


def test_an_unused_queue_expires(channel: RawChannel, connect: Connect, name: str) -> None:
    channel.declare_queue(name, arguments={"x-expires": 100})
    other = connect().open().channel(1)

    def is_gone() -> bool:
        nonlocal other
        other.send(Queue.Declare(queue=name, passive=True))
        answer = other.client.receive(1).method
        if isinstance(answer, Queue.DeclareOk):
            # Asking counts as use, so it must be asked less often than the queue expires.
            deadline = time.monotonic() + 0.2
            until(lambda: time.monotonic() > deadline)
            return False
        assert answer.reply_code == 404
        return True

    until(is_gone)


def test_a_consumed_queue_does_not_expire(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, arguments={"x-expires": 50})
    tag = channel.consume(name)
    deadline = time.monotonic() + 0.15
    until(lambda: time.monotonic() > deadline)
    channel.publish(b"1", name)
    assert channel.deliver().body == b"1"
    channel.call(Basic.Cancel(consumer_tag=tag))
    deadline = time.monotonic() + 0.3
    until(lambda: time.monotonic() > deadline)
    channel.refused(Queue.Declare(queue=name, passive=True), 404, f"NOT_FOUND - no queue '{name}' in vhost '/'")


def test_time_goes_on_while_the_broker_is_down(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = broker.connect().open().channel(1)
    channel.declare_queue("q", durable=True)
    channel.call(Confirm.Select())
    publish_expiring(channel, "q", b"short", "150", delivery_mode=2)
    publish_expiring(channel, "q", b"long", "60000", delivery_mode=2)
    channel.publish(b"plain", "q", properties=Basic.Properties(delivery_mode=2))
    until(lambda: channel.expect(Basic.Ack).delivery_tag == 3)
    deadline = time.monotonic() + 0.15
    broker.kill()
    until(lambda: time.monotonic() > deadline)
    broker.start()
    channel = broker.connect().open().channel(1)
    assert channel.bodies("q") == [b"long", b"plain"]
