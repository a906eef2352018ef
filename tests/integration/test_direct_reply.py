"""Direct reply-to: requests and answers without a reply queue."""

import itertools

import pytest
from pamqp.commands import Basic, Connection, Queue

from tests.conftest import Connect
from tests.support.raw_client import RawChannel

REPLY_TO = "amq.rabbitmq.reply-to"


def ask(channel: RawChannel, queue: str) -> str:
    """Publish a request as ``channel`` and return the reply-to that its receiver finds."""
    channel.publish(b"question", queue, properties=Basic.Properties(reply_to=REPLY_TO, correlation_id="7"))
    message = channel.get(queue)
    assert message is not None
    assert message.properties.correlation_id == "7"
    reply_to: str = message.properties.reply_to
    return reply_to


def test_an_answer_finds_the_channel_that_asked(channel: RawChannel, connect: Connect, queue: str) -> None:
    tag = channel.consume(REPLY_TO, no_ack=True)
    reply_to = ask(channel, queue)
    assert reply_to.startswith(f"{REPLY_TO}.")
    assert ask(channel, queue) == reply_to
    server = connect().open().channel(1)
    server.publish(b"answer", reply_to, properties=Basic.Properties(correlation_id="7"), mandatory=True)
    answer = channel.deliver()
    assert (answer.body, answer.method.consumer_tag, answer.method.redelivered) == (b"answer", tag, False)
    assert (answer.method.exchange, answer.method.routing_key) == ("", reply_to)
    assert answer.properties.correlation_id == "7"


def test_the_name_ends_with_the_consumer(channel: RawChannel, queue: str) -> None:
    tag = channel.consume(REPLY_TO, no_ack=True)
    reply_to = ask(channel, queue)
    declared = channel.call(Queue.Declare(queue=reply_to, passive=True))
    assert (declared.queue, declared.message_count, declared.consumer_count) == (reply_to, 0, 1)
    channel.call(Basic.Cancel(consumer_tag=tag))
    channel.publish(b"late", reply_to, mandatory=True)
    assert channel.receive_message(Basic.Return).body == b"late"
    channel = channel.refused(
        Queue.Declare(queue=reply_to, passive=True), 404, f"NOT_FOUND - no queue '{reply_to}' in vhost '/'"
    )


def test_another_consumer_has_another_name(channel: RawChannel, queue: str) -> None:
    tag = channel.consume(REPLY_TO, no_ack=True)
    first = ask(channel, queue)
    channel.call(Basic.Cancel(consumer_tag=tag))
    channel.consume(REPLY_TO, no_ack=True)
    assert ask(channel, queue) != first


@pytest.mark.haypile_only
def test_names_cannot_be_guessed_from_each_other(connect: Connect, channel: RawChannel, queue: str) -> None:
    client = connect().open()
    names = []
    for number in range(1, 5):
        asking = client.channel(number)
        asking.consume(REPLY_TO, no_ack=True)
        asking.publish(b"", queue, properties=Basic.Properties(reply_to=REPLY_TO))
        message = None
        while message is None:
            message = channel.get(queue)
        names.append(message.properties.reply_to[len(REPLY_TO) + 1 :])
    assert all(len(name) == 32 for name in names)
    for one, other in itertools.pairwise(names):
        assert sum(a == b for a, b in zip(one, other, strict=True)) < 16


def test_without_a_consumer_there_is_no_reply(channel: RawChannel, queue: str) -> None:
    channel.publish(b"", queue, properties=Basic.Properties(reply_to=REPLY_TO))
    channel.expect_channel_close(406, "PRECONDITION_FAILED - fast reply consumer does not exist", Basic.Publish)


def test_a_reply_consumer_cannot_acknowledge(channel: RawChannel) -> None:
    channel.refused(Basic.Consume(queue=REPLY_TO), 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge")


def test_a_channel_has_one_reply_consumer(channel: RawChannel) -> None:
    channel.consume(REPLY_TO, no_ack=True)
    text = "PRECONDITION_FAILED - reply consumer already set"
    channel.refused(Basic.Consume(queue=REPLY_TO, no_ack=True, consumer_tag="b"), 406, text)


@pytest.mark.haypile_only
def test_the_reply_queue_of_another_is_out_of_reach(channel: RawChannel, connect: Connect, queue: str) -> None:
    channel.consume(REPLY_TO, no_ack=True)
    name = ask(channel, queue)
    thief = connect().open().channel(1)
    for method in (Basic.Consume(queue=name), Basic.Get(queue=name), Queue.Purge(queue=name)):
        thief = thief.refused(method, 404, f"NOT_FOUND - no queue '{name}' in vhost '/'")
    thief.refused(
        Queue.Bind(queue=name, exchange="amq.fanout"),
        403,
        "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue",
    )


def test_the_server_says_that_it_can(connect: Connect) -> None:
    start = connect().start()
    assert isinstance(start, Connection.Start)
    capabilities = start.server_properties["capabilities"]
    assert capabilities["direct_reply_to"] is True
    assert capabilities["consumer_priorities"] is True


def test_an_answer_can_come_over_any_exchange_that_reaches_it(channel: RawChannel, queue: str) -> None:
    channel.consume(REPLY_TO, no_ack=True)
    reply_to = ask(channel, queue)
    channel.publish(b"1", "elsewhere", properties=Basic.Properties(headers={"CC": [reply_to]}))
    assert channel.deliver().body == b"1"


def test_arguments_of_the_consumer_mean_nothing(channel: RawChannel, queue: str) -> None:
    tag = channel.consume(REPLY_TO, no_ack=True, arguments={"x-priority": "high", "x-consumer-timeout": []})
    channel.publish(b"answer", ask(channel, queue))
    answer = channel.deliver()
    assert (answer.body, answer.method.consumer_tag) == (b"answer", tag)
