"""A commit that is refused when nobody is there any more: nothing stays with it, and nobody else is disturbed."""

import pytest
from pamqp.commands import Basic, Exchange, Tx

from broker.vhost import COMMITTED_PER_TURN_MAX
from protocol.amqp.errors import precondition_failed
from tests.support.in_process import InProcessBroker
from tests.support.raw_client import RawChannel
from tests.unit.queueing.test_long_transactions import publish

LONG = 3 * COMMITTED_PER_TURN_MAX
HELD = 10
CHANNEL_CLOSE = b"\x00\x14\x00\x28"
BASIC_RETURN = b"\x00\x3c\x00\x32"


@pytest.fixture
def other(broker: InProcessBroker) -> RawChannel:
    channel = broker.connect().channel(1)
    channel.call(Exchange.Declare(exchange="x"))
    return channel


def transactional(broker: InProcessBroker, queue: str) -> RawChannel:
    channel = broker.connect().channel(1)
    channel.declare_queue(queue, durable=True)
    channel.call(Tx.Select())
    return channel


def lose(channel: RawChannel) -> None:
    client = channel.client
    client.transport.closed = True  # type: ignore[attr-defined]
    client.connection.connection_lost(None)  # type: ignore[attr-defined]


def run(broker: InProcessBroker) -> None:
    while broker.loop.ready:
        broker.pass_turn()


def take(broker: InProcessBroker, channel: RawChannel, queue: str) -> None:
    """Have the channel hold messages that its transaction is to acknowledge."""
    publish(channel, HELD, queue)
    channel.call(Tx.Commit())
    channel.send(Basic.Consume(queue=queue, consumer_tag="c"))
    broker.settle()
    channel.send(Basic.Ack(0, True))


def test_what_it_held_goes_back_when_its_connection_is_lost(broker: InProcessBroker, other: RawChannel) -> None:
    """It waits behind a large one, and what it publishes to is deleted meanwhile."""
    large, small = transactional(broker, "q"), transactional(broker, "s")
    take(broker, small, "s")
    publish(small, 1, "s", "x")
    publish(large, LONG)
    large.send(Tx.Commit())
    small.send(Tx.Commit())
    other.send(Exchange.Delete(exchange="x", nowait=True))
    lose(small)
    run(broker)
    queue = broker.vhost.queues["s"]
    assert (queue.ready_count(), queue.unacked_count) == (HELD, 0)
    assert broker.vhost.queues["q"].ready_count() == LONG


def test_a_stop_goes_on_without_it(broker: InProcessBroker, other: RawChannel) -> None:
    """What others have acknowledged stays away."""
    large = transactional(broker, "q")
    other.declare_queue("a", durable=True)
    publish(other, HELD, "a")
    other.send(Basic.Consume(queue="a", consumer_tag="c"))
    broker.settle()
    publish(large, LONG)
    publish(large, 1, "q", "x")
    other.send(Exchange.Delete(exchange="x", nowait=True))
    broker.settle()
    large.send(Tx.Commit())
    other.send(Basic.Ack(HELD, True))
    for channel in (large, other):
        lose(channel)
    broker.clients.clear()
    broker.vhost.close(broker.loop)
    broker.start()
    assert broker.vhost.queues["a"].ready_count() == 0


def test_nothing_is_returned_on_a_channel_that_was_closed(broker: InProcessBroker) -> None:
    channel = transactional(broker, "q")
    publish(channel, LONG, "nowhere", mandatory=True)
    channel.send(Tx.Commit())
    broker.pass_turn()
    connection = channel.client.connection  # type: ignore[attr-defined]
    connection.close_channel(1, precondition_failed("for a reason of its own"))
    run(broker)
    connection.end_turn()
    octets = bytes(channel.client.transport.sent)  # type: ignore[attr-defined]
    assert CHANNEL_CLOSE in octets
    assert octets.rfind(BASIC_RETURN) < octets.rfind(CHANNEL_CLOSE)
