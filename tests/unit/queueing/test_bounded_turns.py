"""What is much for one turn of the event loop is done in several, and nobody can tell."""

from itertools import pairwise

import pytest
from pamqp.commands import Basic, Confirm, Connection, Exchange, Queue

from broker import purges
from broker.exclusive_queues import QUEUES_PER_TURN_MAX
from broker.purges import DROPPED_PER_TURN_MAX
from broker.session.outlet import ASKING_WORK, ROUTE_WORK, WORK_PER_TURN_MAX
from tests.support.in_process import InProcessBroker, InProcessClient
from tests.support.raw_client import RawChannel, content, frame, method_payload

MANY = 2 * QUEUES_PER_TURN_MAX + 50


def declare_many(client: InProcessClient, count: int = MANY, prefix: str = "q") -> RawChannel:
    """Declare so many exclusive queues; return the channel that did it."""
    channel = client.channel(1)
    for number in range(count):
        channel.send(Queue.Declare(queue=f"{prefix}{number}", exclusive=True, nowait=True))
    client.broker.turns()
    return channel


def lose(client: InProcessClient) -> None:
    """End a connection without a word, and let no turn pass."""
    client.transport.closed = True
    client.connection.connection_lost(None)


def counts_by_turn(broker: InProcessBroker) -> list[int]:
    """Let turns pass until there is nothing left to do; return how many queues each has deleted."""
    deleted = []
    while broker.loop.ready:
        before = len(broker.vhost.queues)
        broker.pass_turn()
        deleted.append(before - len(broker.vhost.queues))
    return [count for count in deleted if count]


def test_the_queues_of_a_lost_connection_go_in_several_turns(broker: InProcessBroker) -> None:
    client = broker.connect()
    declare_many(client)
    lose(client)
    assert counts_by_turn(broker) == [QUEUES_PER_TURN_MAX, QUEUES_PER_TURN_MAX, 50]


def test_connections_that_are_lost_together_share_the_turns(broker: InProcessBroker) -> None:
    clients = [broker.connect() for _ in range(3)]
    for index, client in enumerate(clients):
        declare_many(client, 100, f"q{index}.")
    for client in clients:
        lose(client)
    assert counts_by_turn(broker) == [QUEUES_PER_TURN_MAX, 300 - QUEUES_PER_TURN_MAX]


def test_what_was_exclusive_is_gone_before_close_ok(broker: InProcessBroker) -> None:
    client = broker.connect()
    declare_many(client)
    client.send(Connection.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    while broker.vhost.queues:
        assert not client.transport.sent
        broker.pass_turn()
    client.expect(Connection.CloseOk)
    assert client.transport.closed


def test_a_connection_that_is_lost_while_its_queues_go_is_answered_no_more(broker: InProcessBroker) -> None:
    client = broker.connect()
    declare_many(client)
    client.send(Connection.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    broker.pass_turn()
    assert broker.vhost.queues
    lose(client)
    broker.turns()
    assert not broker.vhost.queues
    assert not client.transport.sent


@pytest.fixture
def other(broker: InProcessBroker) -> RawChannel:
    """A channel of another connection, while queues of a lost one are still to be deleted."""
    client = broker.connect()
    declare_many(client)
    channel = broker.connect().channel(1)
    lose(client)
    return channel


def test_a_queue_that_is_to_go_can_be_declared_at_once(broker: InProcessBroker, other: RawChannel) -> None:
    other.send(Queue.Declare(queue="q0", exclusive=True))
    other.send(Queue.Declare(queue="q1", durable=True))
    assert len(broker.vhost.queues) == MANY
    assert other.expect(Queue.DeclareOk).queue == "q0"
    assert other.expect(Queue.DeclareOk).queue == "q1"
    broker.turns()
    assert sorted(broker.vhost.queues) == ["q0", "q1"]


def test_a_queue_that_is_to_go_is_not_found(other: RawChannel) -> None:
    other.refused(Queue.Declare(queue="q0", passive=True), 404, "NOT_FOUND - no queue 'q0' in vhost '/'")


def test_a_queue_that_is_to_go_is_deleted_already(other: RawChannel) -> None:
    assert other.call(Queue.Delete(queue="q0")).message_count == 0
    assert isinstance(other.call(Queue.Unbind(queue="q1", exchange="amq.direct")), Queue.UnbindOk)


def test_a_clean_stop_waits_for_the_queues_that_are_to_go(broker: InProcessBroker) -> None:
    client = broker.connect()
    channel = declare_many(client)
    channel.call(Exchange.Declare(exchange="x", durable=True, auto_delete=True))
    for number in range(MANY):
        channel.send(Queue.Bind(queue=f"q{number}", exchange="x", nowait=True))
    broker.settle()
    lose(client)
    assert broker.vhost.queues
    broker.clients.clear()
    broker.vhost.close(broker.loop)  # type: ignore[arg-type]
    broker.start()
    assert "x" not in broker.vhost.exchanges


def test_messages_of_several_queues_are_dropped_in_several_turns(broker: InProcessBroker) -> None:
    client = broker.connect()
    channel = client.channel(1)
    count = 3
    for number in range(count):
        channel.call(Queue.Declare(queue=f"q{number}"))
        channel.call(Queue.Bind(queue=f"q{number}", exchange="amq.fanout"))
    each = DROPPED_PER_TURN_MAX // 2
    for _ in range(each):
        channel.publish(b"", exchange="amq.fanout")
    budget = broker.vhost.budget
    broker.turns()
    before = budget.used_bytes
    for number in range(count):
        channel.send(Queue.Purge(queue=f"q{number}"))
    kept = []
    while broker.loop.ready:
        kept.append(budget.used_bytes)
        broker.pass_turn()
    assert [round(count * size / before, 1) for size in kept[:2]] == [1.0, 0.0]
    assert [channel.expect(Queue.PurgeOk).message_count for _ in range(count)] == [each] * count


def test_a_small_queue_is_purged_beside_a_large_one(broker: InProcessBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purges, "DROPPED_PER_TURN_MAX", 20)
    monkeypatch.setattr(purges, "SHARE_OF_ONE_MAX", 4)
    channel = broker.connect().channel(1)
    finished = []
    for name, count in (("large", 20_100), ("small", 3)):
        channel.call(Queue.Declare(queue=name))
        for _ in range(count):
            channel.publish(b"", name)
    broker.turns()
    for name in ("large", "small"):
        broker.vhost.queues[name].purge(lambda name=name: finished.append(name))
    assert finished == []
    broker.pass_turn()
    assert finished == ["small"]
    broker.turns()
    assert finished == ["small", "large"]


def publish_many(broker: InProcessBroker, channel: RawChannel, keys: list[str], exchange: str = "") -> list[int]:
    """Publish in one piece, confirmed; return how many messages each turn has taken."""
    octets = b"".join(
        frame(1, 1, method_payload(Basic.Publish(exchange=exchange, routing_key=key)))
        + content(1, str(number).encode())
        for number, key in enumerate(keys)
    )
    counters = broker.counters
    counts = [counters.messages_received]
    channel.client.send_bytes(octets)
    counts.append(counters.messages_received)
    while broker.loop.ready:
        broker.pass_turn()
        counts.append(counters.messages_received)
    return [count for count in (after - before for before, after in pairwise(counts)) if count]


def test_a_publisher_to_many_queues_at_once_rests(broker: InProcessBroker) -> None:
    queue_count, message_count = 200, 250
    channel = broker.connect().channel(1)
    for number in range(queue_count):
        channel.declare_queue(f"q{number}")
        channel.bind(f"q{number}", "amq.fanout")
    channel.call(Confirm.Select())
    counts = publish_many(broker, channel, [""] * message_count, "amq.fanout")
    assert sum(counts) == message_count
    assert len(counts) == -(-message_count * queue_count // WORK_PER_TURN_MAX)
    assert max(counts) <= WORK_PER_TURN_MAX // queue_count
    last = 0
    while last < message_count:
        last = channel.expect(Basic.Ack).delivery_tag
    assert [int(body) for body in channel.bodies("q7")] == list(range(message_count))


def test_a_publisher_whose_every_message_goes_elsewhere_rests(broker: InProcessBroker) -> None:
    count = 3 * (WORK_PER_TURN_MAX // ROUTE_WORK)
    channel = broker.connect().channel(1)
    keys = [f"q{number}" for number in range(count)]
    counts = publish_many(broker, channel, keys)
    assert counts == [count // 3] * 3
    # Where they go is known now.
    assert publish_many(broker, channel, keys) == [count]


def test_a_publisher_to_queues_that_have_to_be_asked_rests(broker: InProcessBroker) -> None:
    channel = broker.connect().channel(1)
    channel.declare_queue("q", arguments={"x-max-length": 10, "x-overflow": "reject-publish"})
    each = WORK_PER_TURN_MAX // ASKING_WORK
    counts = publish_many(broker, channel, ["q"] * (each + 500))
    assert counts[0] <= each
    assert sum(counts) == each + 500


def test_a_caller_of_many_methods_rests(broker: InProcessBroker) -> None:
    client = broker.connect()
    client.channel(1)
    declare = frame(1, 1, method_payload(Queue.Declare(queue="q", nowait=True)))
    client.send_bytes(declare * 250)
    declared = [broker.counters.queues_declared]
    while broker.loop.ready:
        broker.pass_turn()
        declared.append(broker.counters.queues_declared)
    assert declared[:3] == [100, 200, 250]
