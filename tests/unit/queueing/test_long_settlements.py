"""Many deliveries that are settled at once go in several turns, and nobody can tell."""

from itertools import pairwise

import pytest
from pamqp.base import Frame as Method
from pamqp.commands import Basic, Channel, Connection, Queue

from broker.queueing.queue import Queue as BrokerQueue
from broker.vhost import SETTLED_PER_TURN_MAX
from tests.support.in_process import InProcessBroker, InProcessClient
from tests.support.raw_client import RawChannel, content, frame, method_payload

LONG = 3 * SETTLED_PER_TURN_MAX + 100
SLICES = [SETTLED_PER_TURN_MAX] * 3 + [100]
BLOCK = 1_000


def publish(channel: RawChannel, count: int, first: int = 0, queue: str = "q") -> None:
    """Publish so many messages, whose bodies are their numbers."""
    head = frame(1, 1, method_payload(Basic.Publish(routing_key=queue)))
    for begin in range(first, first + count, BLOCK):
        numbers = range(begin, min(begin + BLOCK, first + count))
        channel.client.send_bytes(b"".join([head + content(1, b"%d" % number) for number in numbers]))
        channel.client.broker.turns()  # type: ignore[attr-defined]


def take(broker: InProcessBroker, count: int = LONG, **declared: bool) -> RawChannel:
    """Fill a queue, and have a channel hold all of it unacknowledged."""
    publisher = broker.connect().channel(1)
    publisher.call(Queue.Declare(queue="q", **declared))
    publish(publisher, count)
    channel = broker.connect().channel(1)
    channel.send(Basic.Consume(queue="q", consumer_tag="c"))
    forget_sent(broker, channel)
    assert queue_of(broker).unacked_count == count
    return channel


def forget_sent(broker: InProcessBroker, channel: RawChannel) -> None:
    """Throw away what the broker has sent to a client."""
    broker.turns()
    channel.client.transport.sent.clear()  # type: ignore[attr-defined]


def queue_of(broker: InProcessBroker) -> BrokerQueue:
    queue: BrokerQueue = broker.vhost.queues["q"]
    return queue


def lose(channel: RawChannel) -> None:
    """End a connection without a word, and let no turn pass."""
    client = channel.client
    assert isinstance(client, InProcessClient)
    client.transport.closed = True
    client.connection.connection_lost(None)


def settled_by_turn(broker: InProcessBroker, counts: list[int]) -> list[int]:
    """Let turns pass until there is nothing left to do; return how many deliveries each has settled.

    ``counts`` is how many there were before.
    """
    counts.append(queue_of(broker).unacked_count)
    while broker.loop.ready:
        broker.pass_turn()
        counts.append(queue_of(broker).unacked_count)
    return [count for count in (before - after for before, after in pairwise(counts)) if count]


def ready_numbers(broker: InProcessBroker) -> list[int]:
    assert all(redelivered for _, _, redelivered in queue_of(broker).entries(0, LONG))
    return [int(message.body) for _, message, _ in queue_of(broker).entries(0, LONG)]


def test_what_a_lost_connection_held_comes_back_in_several_turns(broker: InProcessBroker) -> None:
    channel = take(broker)
    lose(channel)
    assert settled_by_turn(broker, [LONG]) == SLICES
    assert ready_numbers(broker) == list(range(LONG))
    assert not broker.vhost.channels - {broker.clients[0].connection.channels[1]}


def test_connections_that_are_lost_together_share_the_turns(broker: InProcessBroker) -> None:
    each = SETTLED_PER_TURN_MAX // 2
    take(broker, each)
    for number in range(1, 4):
        channel = broker.connect().channel(1)
        channel.call(Basic.Consume(queue="q", exclusive=False, consumer_tag="c"))
        broker.clients[-2].send(Basic.Cancel(consumer_tag="c"), 1)
        publish(RawChannel(broker.clients[0], 1), each, number * each)
        forget_sent(broker, channel)
    broker.clients[-1].send(Basic.Cancel(consumer_tag="c"), 1)
    assert queue_of(broker).unacked_count == 4 * each
    for client in broker.clients[1:]:
        lose(RawChannel(client, 1))
    assert settled_by_turn(broker, [4 * each]) == [SETTLED_PER_TURN_MAX] * 2
    assert ready_numbers(broker) == list(range(4 * each))


def test_nobody_gets_what_comes_later_before_what_comes_back(broker: InProcessBroker) -> None:
    channel = take(broker)
    other = broker.connect().channel(1)
    other.call(Basic.Qos(prefetch_count=2))
    other.call(Basic.Consume(queue="q", consumer_tag="other"))
    lose(channel)
    publish_one = frame(1, 1, method_payload(Basic.Publish(routing_key="q"))) + content(1, b"%d" % LONG)
    broker.clients[0].send_bytes(publish_one)
    while queue_of(broker).unacked_count:
        assert not other.client.transport.sent  # type: ignore[attr-defined]
        broker.pass_turn()
        if queue_of(broker).ready_count() >= LONG - 1:
            break
    assert [int(other.deliver().body) for _ in range(2)] == [0, 1]
    assert queue_of(broker).pause_count == 0


@pytest.mark.parametrize("requeue", [True, False, None])
def test_a_method_that_settles_many_is_done_before_the_next(broker: InProcessBroker, requeue: bool | None) -> None:
    channel = take(broker)
    channel.call(Basic.Cancel(consumer_tag="c"))
    settle = Basic.Ack(0, True) if requeue is None else Basic.Nack(0, True, requeue)
    declare = frame(1, 1, method_payload(Queue.Declare(queue="q", passive=True)))
    channel.client.send_bytes(frame(1, 1, method_payload(settle)) + declare)
    unacked = [LONG]
    while queue_of(broker).unacked_count:
        unacked.append(queue_of(broker).unacked_count)
        assert not channel.client.transport.sent  # type: ignore[attr-defined]
        broker.pass_turn()
    unacked.append(0)
    assert [before - after for before, after in pairwise(unacked) if before > after] == SLICES
    assert channel.expect(Queue.DeclareOk).message_count == (LONG if requeue else 0)
    acknowledged = broker.counters.messages_acknowledged
    assert acknowledged == (LONG if requeue is None else 0)
    # And the channel goes on.
    publish(channel, 1, LONG)
    channel.call(Basic.Consume(queue="q", consumer_tag="d"))
    assert int(channel.deliver().body) == (0 if requeue else LONG)


def test_what_comes_back_to_its_consumer_comes_in_order(broker: InProcessBroker) -> None:
    channel = take(broker)
    channel.send(Basic.Nack(0, True, True))
    while queue_of(broker).ready_count() < LONG:
        assert not channel.client.transport.sent  # type: ignore[attr-defined]
        broker.pass_turn()
        if queue_of(broker).pause_count == 0:
            break
    broker.turns()
    assert queue_of(broker).unacked_count == LONG
    message = channel.deliver()
    assert (message.body, message.method.redelivered) == (b"0", True)


@pytest.mark.parametrize(
    "method", [Basic.Recover(requeue=True), Channel.Close(200, "", 0, 0), Connection.Close(200, "", 0, 0)]
)
def test_the_answer_comes_when_everything_is_back(broker: InProcessBroker, method: Method) -> None:
    channel = take(broker)
    channel.call(Basic.Cancel(consumer_tag="c"))
    number = 0 if isinstance(method, Connection.Close) else 1
    channel.client.send(method, number)
    while queue_of(broker).unacked_count:
        assert not channel.client.transport.sent  # type: ignore[attr-defined]
        broker.pass_turn()
    assert ready_numbers(broker) == list(range(LONG))
    answer = channel.client.receive(number).method
    assert answer.name in method.valid_responses
    if number and not isinstance(method, Channel.Close):
        channel.close()
    if number:
        assert channel.client.channel(1).counts("q") == (LONG, 0)


def test_a_channel_error_is_told_when_everything_is_back(broker: InProcessBroker) -> None:
    channel = take(broker)
    declare = frame(1, 1, method_payload(Queue.Declare(queue="missing", passive=True)))
    # What the client has sent after that is ignored as always.
    channel.client.send_bytes(declare + frame(1, 1, method_payload(Basic.Ack(1))))
    while queue_of(broker).unacked_count:
        assert not channel.client.transport.sent  # type: ignore[attr-defined]
        broker.pass_turn()
    channel.expect_channel_close(404, "NOT_FOUND - no queue 'missing' in vhost '/'")
    assert channel.client.channel(1).counts("q") == (LONG, 0)


@pytest.mark.parametrize("end", ["lost", "closed"])
def test_what_was_acknowledged_stays_so_when_the_connection_ends(broker: InProcessBroker, end: str) -> None:
    channel = take(broker)
    channel.send(Basic.Ack(LONG - 10, True))
    assert queue_of(broker).unacked_count == LONG - SETTLED_PER_TURN_MAX
    if end == "lost":
        lose(channel)
    else:
        channel.client.connection.close_by_broker("")  # type: ignore[attr-defined]
    broker.turns()
    assert ready_numbers(broker) == list(range(LONG - 10, LONG))
    assert broker.counters.messages_acknowledged == LONG - 10


def test_a_queue_may_be_deleted_while_messages_come_back(broker: InProcessBroker) -> None:
    channel = take(broker, durable=True)
    queue = queue_of(broker)
    lose(channel)
    assert queue.unacked_count
    other = broker.connect().channel(1)
    assert other.call(Queue.Delete(queue="q")).message_count <= LONG
    broker.turns()
    assert queue.unacked_count == 0
    assert other.declare_queue("q") == "q"
    assert other.counts("q") == (0, 0)


def test_a_clean_stop_settles_what_was_asked_for(broker: InProcessBroker) -> None:
    publisher = broker.connect().channel(1)
    publisher.call(Queue.Declare(queue="q", durable=True))
    head = frame(1, 1, method_payload(Basic.Publish(routing_key="q")))
    persistent = Basic.Properties(delivery_mode=2)
    for begin in range(0, LONG, BLOCK):
        numbers = range(begin, min(begin + BLOCK, LONG))
        broker.clients[0].send_bytes(b"".join([head + content(1, b"%d" % number, persistent) for number in numbers]))
    broker.settle()
    channel = broker.connect().channel(1)
    channel.send(Basic.Consume(queue="q"))
    forget_sent(broker, channel)
    channel.send(Basic.Ack(LONG - 1, True))
    assert queue_of(broker).unacked_count > 1
    lose(channel)
    broker.clients.clear()
    broker.vhost.close(broker.loop)  # type: ignore[arg-type]
    broker.start()
    assert ready_numbers_after_start(broker) == [LONG - 1]


def ready_numbers_after_start(broker: InProcessBroker) -> list[int]:
    channel = broker.connect().channel(1)
    return [int(body) for body in channel.bodies("q")]


def test_what_is_few_is_settled_at_once(broker: InProcessBroker) -> None:
    channel = take(broker, SETTLED_PER_TURN_MAX)
    channel.send(Basic.Ack(0, True))
    assert queue_of(broker).unacked_count == 0


def test_acknowledgements_of_many_count_as_work_of_the_turn(broker: InProcessBroker) -> None:
    channel = take(broker, 20 * SETTLED_PER_TURN_MAX)
    acks = [frame(1, 1, method_payload(Basic.Ack(tag * SETTLED_PER_TURN_MAX, True))) for tag in range(1, 21)]
    channel.client.send_bytes(b"".join(acks))
    assert queue_of(broker).unacked_count > 0
    broker.turns()
    assert queue_of(broker).unacked_count == 0
