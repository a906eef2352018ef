"""What clients can see of a queue's type, and consumers that take too long."""

from typing import Any

import pytest
from pamqp.commands import Basic, Channel, Connection, Queue

from tests.conftest import Connect, StartBroker
from tests.support.raw_client import RawChannel

QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture
def quorum(channel: RawChannel, connect: Connect, name: str) -> Any:
    """A queue declared as a quorum queue; it is deleted at the end."""
    channel.declare_queue(name, durable=True, arguments=QUORUM)
    yield name
    connect().open().channel(1).delete_queue(name)


@pytest.mark.parametrize(
    ("flags", "prop"),
    [
        ({"durable": False}, "non-durable"),
        ({"durable": True, "auto_delete": True}, "auto-delete"),
        ({"durable": True, "exclusive": True}, "exclusive-owner"),
    ],
)
def test_what_a_quorum_queue_cannot_be(channel: RawChannel, name: str, flags: dict[str, bool], prop: str) -> None:
    text = f"PRECONDITION_FAILED - invalid property '{prop}' for queue '{name}' in vhost '/'"
    channel.refused(Queue.Declare(queue=name, arguments=QUORUM, **flags), 406, text)


@pytest.mark.parametrize("argument", ["x-max-priority", "x-queue-version", "x-max-age"])
def test_arguments_that_quorum_queues_do_not_have(channel: RawChannel, name: str, argument: str) -> None:
    text = (
        f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{name}' in vhost '/' "
        "of queue type rabbit_quorum_queue"
    )
    method = Queue.Declare(queue=name, durable=True, arguments={**QUORUM, argument: 2})
    channel.refused(method, 406, text)


@pytest.mark.haypile_only
def test_a_quorum_queue_gives_up_after_twenty_times(channel: RawChannel, quorum: str) -> None:
    channel.publish(b"1", quorum)
    for count in range(21):
        message = channel.get(quorum, no_ack=False)
        assert message is not None
        assert (message.properties.headers or {}).get("x-delivery-count", 0) == count
        channel.send(Basic.Nack(delivery_tag=message.method.delivery_tag, requeue=True))
    assert channel.get(quorum) is None


def test_a_quorum_queue_has_no_global_prefetch(channel: RawChannel, quorum: str) -> None:
    channel.send(Basic.Qos(prefetch_count=5, global_=True))
    channel.expect(Basic.QosOk)
    channel.send(Basic.Consume(queue=quorum))
    text = f"NOT_IMPLEMENTED - queue '{quorum}' in vhost '/' does not support global qos"
    close = channel.client.expect(Connection.Close)
    assert (close.reply_code, close.reply_text) == (540, text)


def test_a_consumer_that_takes_too_long_loses_its_channel(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = broker.connect().open(capabilities={}).channel(1)
    channel.declare_queue("patient")
    channel.declare_queue("q", arguments={"x-consumer-timeout": 1000})
    channel.publish(b"1", "patient")
    channel.publish(b"2", "q")
    channel.consume("patient")
    channel.deliver()
    channel.consume("q")
    assert channel.deliver().body == b"2"
    close = channel.expect(Channel.Close)
    assert (close.reply_code, close.reply_text) == (
        406,
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1000 ms. "
        "This timeout value can be configured, see consumers doc guide to learn more",
    )
    channel.send(Channel.CloseOk())
    channel = channel.client.channel(1)
    message = channel.get("q")
    assert message is not None
    assert message.method.redelivered


def test_a_client_that_understands_loses_only_the_consumer(start_broker: StartBroker) -> None:
    broker = start_broker({"consumer-timeout-ms": "1000"})
    channel = broker.connect().open().channel(1)
    channel.declare_queue("patient", arguments={"x-consumer-timeout": 0})
    channel.declare_queue("q")
    channel.publish(b"1", "patient")
    channel.publish(b"2", "q")
    channel.consume("patient", "p")
    patient = channel.deliver()
    channel.consume("q", "late")
    late = channel.deliver()
    assert channel.expect(Basic.Cancel).consumer_tag == "late"
    again = channel.get("q", no_ack=False)
    assert again is not None
    assert (again.body, again.method.redelivered) == (b"2", True)
    # It may still answer, to no effect.
    channel.send(Basic.Ack(late.method.delivery_tag))
    channel.send(Basic.Ack(patient.method.delivery_tag))
    channel.send(Basic.Ack(again.method.delivery_tag))
    channel.expect_silence()
    channel.refused(Basic.Ack(late.method.delivery_tag), 406, "PRECONDITION_FAILED - unknown delivery tag 2")
    assert channel.client.channel(2).counts("q") == (0, 0)


def test_a_late_acknowledgement_of_many_means_the_others(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = broker.connect().open().channel(1)
    channel.declare_queue("patient")
    channel.declare_queue("q", arguments={"x-consumer-timeout": 1000})
    channel.consume("patient", "p")
    channel.consume("q", "late")
    for queue in ("patient", "patient", "q"):
        channel.publish(b"", queue)
    for _ in range(3):
        channel.deliver()
    assert channel.expect(Basic.Cancel).consumer_tag == "late"
    channel.send(Basic.Ack(3, multiple=True))
    channel.call(Basic.Cancel(consumer_tag="p"))
    channel.close()
    channel = channel.client.channel(1)
    assert channel.counts("patient") == (0, 0)
    assert channel.counts("q") == (1, 0)
