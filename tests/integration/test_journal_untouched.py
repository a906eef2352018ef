"""What does not have to outlive the broker never touches the journal."""

from collections.abc import Callable

import pytest
from pamqp.commands import Basic

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawChannel

TRANSIENT = Basic.Properties(delivery_mode=1)
PERSISTENT = Basic.Properties(delivery_mode=2)
COUNT = 50


def call_remotely(channel: RawChannel, server: RawChannel) -> None:
    channel.consume("amq.rabbitmq.reply-to", no_ack=True)
    server.consume("requests", no_ack=True)
    for _ in range(COUNT):
        # Persistent, as requests often are by a client's default.
        properties = Basic.Properties(delivery_mode=2, reply_to="amq.rabbitmq.reply-to")
        channel.publish(b"question", "requests", properties=properties)
        server.publish(b"answer", server.deliver().properties.reply_to, properties=PERSISTENT)
        assert channel.deliver().body == b"answer"


def fan_out(channel: RawChannel, server: RawChannel) -> None:
    for consumer, queue in ((channel, "durable 1"), (server, "durable 2")):
        consumer.consume(queue, tag=queue)
    for _ in range(COUNT):
        channel.publish(b"news", "", "amq.fanout", properties=TRANSIENT)
        for consumer in (channel, server):
            consumer.send(Basic.Ack(consumer.deliver().method.delivery_tag))


def work_through_a_backlog(channel: RawChannel, server: RawChannel) -> None:
    for _ in range(COUNT):
        channel.publish(b"task", "durable 1", properties=TRANSIENT)
    server.consume("durable 1")
    for _ in range(COUNT):
        server.send(Basic.Reject(server.deliver().method.delivery_tag, requeue=False))


@pytest.fixture
def broker(start_broker: StartBroker) -> BrokerProcess:
    return start_broker()


@pytest.mark.parametrize("work", [call_remotely, fan_out, work_through_a_backlog])
def test_the_journal_is_not_touched(broker: BrokerProcess, work: Callable[[RawChannel, RawChannel], None]) -> None:
    client = broker.connect().open()
    channel, server = client.channel(1), broker.connect().open().channel(1)
    channel.declare_queue("requests", durable=False)
    for queue in ("durable 1", "durable 2"):
        channel.declare_queue(queue, durable=True)
        channel.bind(queue, "amq.fanout")
    before = broker.metric("haypile_journal_written_bytes_total")
    assert before > 0
    work(channel, server)
    for each in (channel, server):
        # What was sent before has been taken in by the time that this is answered.
        assert each.counts("durable 1")[0] == 0
    assert broker.metric("haypile_journal_written_bytes_total") == before
