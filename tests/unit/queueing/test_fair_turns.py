"""Many queues with long backlogs share the turns; one connection's waiting replies are bounded."""

from pamqp.commands import Basic, Queue

from broker.session.reading import REPLIES_WAITING_MAX
from broker.turn import HANDED_OVER_AT_ONCE_MIN, HANDED_OVER_PER_TURN_MAX
from protocol.amqp.errors import precondition_failed
from tests.support.in_process import InProcessBroker
from tests.support.raw_client import content, frame, method_payload

QUEUES = 40
LENGTH = 1_000


def delivered_by_turn(broker: InProcessBroker) -> list[int]:
    """Let turns pass until there is nothing left to do; return how many messages each has handed over."""
    counters = broker.counters
    counts = []
    while broker.loop.ready:
        before = counters.messages_delivered_consume_auto_ack
        broker.pass_turn()
        counts.append(counters.messages_delivered_consume_auto_ack - before)
    return counts


def test_the_backlogs_of_many_queues_are_handed_over_in_several_turns(broker: InProcessBroker) -> None:
    channel = broker.connect().channel(1)
    for number in range(QUEUES):
        channel.declare_queue(f"q{number}")
        channel.bind(f"q{number}", "amq.fanout")
    publish = frame(1, 1, method_payload(Basic.Publish(exchange="amq.fanout"))) + content(1, b"x")
    channel.client.send_bytes(publish * LENGTH)
    broker.turns()
    counters = broker.counters
    consumers = [broker.connect().channel(1) for _ in range(QUEUES)]
    for number, consumer in enumerate(consumers):
        consumer.send(Basic.Consume(queue=f"q{number}", no_ack=True))
    # What they have asked for themselves: in one turn no more than that, and a little for each.
    at_once = counters.messages_delivered_consume_auto_ack
    assert at_once <= HANDED_OVER_PER_TURN_MAX + QUEUES * HANDED_OVER_AT_ONCE_MIN
    later = delivered_by_turn(broker)
    assert max(later) <= HANDED_OVER_PER_TURN_MAX + HANDED_OVER_AT_ONCE_MIN
    assert at_once + sum(later) == QUEUES * LENGTH


def test_large_messages_count_for_more(broker: InProcessBroker) -> None:
    channel = broker.connect().channel(1)
    channel.declare_queue("q")
    size = 100_000
    for _ in range(100):
        channel.publish(bytes(size), "q")
    broker.turns()
    channel.send(Basic.Consume(queue="q", no_ack=True))
    assert broker.counters.messages_delivered_consume_auto_ack < 20
    broker.turns()
    assert broker.counters.messages_delivered_consume_auto_ack == 100


def test_nothing_is_read_behind_too_many_replies_that_wait(broker: InProcessBroker) -> None:
    client = broker.connect()
    channel = client.channel(1)
    reply = client.connection.channels[1].reply_later()
    count = 3 * REPLIES_WAITING_MAX
    declare = frame(1, 1, method_payload(Queue.Declare(queue="q")))
    declared = broker.counters.queues_declared
    client.send_bytes(declare * count)
    broker.turns()
    # The one that was there already counts too.
    assert broker.counters.queues_declared - declared == REPLIES_WAITING_MAX - 1
    reply.resolve(lambda: True)
    for _ in range(count):
        assert channel.expect(Queue.DeclareOk).queue == "q"
    assert broker.counters.queues_declared - declared == count


def test_replies_of_all_channels_of_a_connection_count_together(broker: InProcessBroker) -> None:
    client = broker.connect()
    channels = [client.channel(number) for number in (1, 2)]
    replies = [client.connection.channels[channel.number].reply_later() for channel in channels]
    each = REPLIES_WAITING_MAX * 3 // 4
    declared = broker.counters.queues_declared
    for channel in channels:
        declare = frame(1, channel.number, method_payload(Queue.Declare(queue="q")))
        client.send_bytes(declare * each)
        broker.turns()
    assert broker.counters.queues_declared - declared == REPLIES_WAITING_MAX - 2
    # A channel that ends takes its replies with it.
    client.connection.close_channel(1, precondition_failed("for the test"))
    broker.turns()
    assert broker.counters.queues_declared - declared == 2 * each
    replies[1].resolve(lambda: True)
    for _ in range(each):
        channels[1].expect(Queue.DeclareOk)
