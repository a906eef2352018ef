"""A large transaction is committed in several turns, as one unit of the journal, and nobody can tell."""

from itertools import pairwise

import pytest
from pamqp.commands import Basic, Confirm, Connection, Exchange, Queue, Tx

from broker.session import transaction
from broker.vhost import COMMITTED_PER_TURN_MAX, SETTLED_PER_TURN_MAX
from tests.support.in_process import InProcessBroker
from tests.support.raw_client import RawChannel, content, frame, method_payload

LONG = 3 * COMMITTED_PER_TURN_MAX
PERSISTENT = Basic.Properties(delivery_mode=2)
BLOCK = 1_000


def publish(channel: RawChannel, count: int, queue: str = "q", exchange: str = "", mandatory: bool = False) -> None:
    """Publish so many persistent messages, whose bodies are their numbers."""
    method = Basic.Publish(exchange=exchange, routing_key=queue, mandatory=mandatory)
    head = frame(1, channel.number, method_payload(method))
    for begin in range(0, count, BLOCK):
        numbers = range(begin, min(begin + BLOCK, count))
        octets = [head + content(channel.number, b"%d" % number, PERSISTENT) for number in numbers]
        channel.client.send_bytes(b"".join(octets))
        channel.client.broker.turns()  # type: ignore[attr-defined]


@pytest.fixture
def transactional(broker: InProcessBroker) -> RawChannel:
    channel = broker.connect().channel(1)
    channel.declare_queue("q", durable=True)
    channel.call(Tx.Select())
    return channel


def sent(channel: RawChannel) -> int:
    return len(channel.client.transport.sent)  # type: ignore[attr-defined]


def received_by_turn(broker: InProcessBroker) -> list[int]:
    """Let turns pass until there is nothing left to do; return how many messages each has put into queues."""
    counts = []
    while broker.loop.ready:
        before = broker.counters.messages_routed
        broker.pass_turn()
        counts.append(broker.counters.messages_routed - before)
    return counts


def test_a_large_commit_takes_several_turns(broker: InProcessBroker, transactional: RawChannel) -> None:
    publish(transactional, LONG)
    transactional.send(Tx.Commit())
    assert broker.counters.messages_routed < COMMITTED_PER_TURN_MAX
    assert not sent(transactional)
    counts = received_by_turn(broker)
    assert sum(counts) == LONG
    assert max(counts) <= COMMITTED_PER_TURN_MAX
    transactional.expect(Tx.CommitOk)
    assert [int(body) for body in transactional.bodies("q")] == list(range(LONG))


def test_what_comes_after_a_large_commit_finds_it_done(broker: InProcessBroker, transactional: RawChannel) -> None:
    publish(transactional, LONG)
    declare = frame(1, 1, method_payload(Queue.Declare(queue="q", passive=True)))
    transactional.client.send_bytes(frame(1, 1, method_payload(Tx.Commit())) + declare)
    transactional.expect(Tx.CommitOk)
    assert transactional.expect(Queue.DeclareOk).message_count == LONG


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
def test_after_a_crash_there_is_all_of_it_or_nothing(
    broker: InProcessBroker, transactional: RawChannel, turns: int
) -> None:
    other = broker.connect().channel(1)
    other.declare_queue("other", durable=True)
    other.call(Confirm.Select())
    publish(transactional, LONG)
    transactional.send(Tx.Commit())
    for _ in range(turns):
        broker.pass_turn()
    # What others do meanwhile is confirmed when the transaction is done, and not before it is on disk.
    publish(other, 1, "other")
    confirmed = sent(other)
    broker.crash()
    broker.start()
    channel = broker.connect().channel(1)
    count = channel.counts("q")[0]
    assert count in (0, LONG)
    assert channel.counts("other")[0] >= bool(confirmed)


def test_others_are_confirmed_between_large_commits(broker: InProcessBroker) -> None:
    channels = [broker.connect().channel(1) for _ in range(3)]
    for channel in channels:
        channel.declare_queue("q", durable=True)
        channel.call(Tx.Select())
        publish(channel, LONG)
    for channel in channels:
        channel.send(Tx.Commit())
    journal = broker.vhost.journal
    open_by_turn = []
    while broker.loop.ready:
        broker.pass_turn()
        open_by_turn.append(journal.unit_depth)
    assert max(open_by_turn) == 1
    # The journal could commit after each of them.
    ends = [before > after for before, after in pairwise(open_by_turn)]
    assert sum(ends) == len(channels)
    for channel in channels:
        channel.expect(Tx.CommitOk)
    assert channels[0].counts("q")[0] == 3 * LONG


def test_a_commit_goes_on_when_its_connection_is_lost(broker: InProcessBroker, transactional: RawChannel) -> None:
    publish(transactional, LONG)
    transactional.send(Tx.Commit())
    for _ in range(3):
        broker.pass_turn()
    assert broker.vhost.journal.unit_depth == 1
    transactional.client.cut()  # type: ignore[attr-defined]
    assert broker.vhost.journal.unit_depth == 0
    assert broker.connect().channel(1).counts("q") == (LONG, 0)


def test_a_clean_stop_finishes_a_commit(broker: InProcessBroker, transactional: RawChannel) -> None:
    publish(transactional, LONG)
    transactional.send(Tx.Commit())
    for _ in range(3):
        broker.pass_turn()
    transactional.client.connection.connection_lost(None)  # type: ignore[attr-defined]
    broker.clients.clear()
    broker.vhost.close(broker.loop)  # type: ignore[arg-type]
    broker.start()
    assert broker.connect().channel(1).counts("q") == (LONG, 0)


def test_a_large_commit_is_refused_as_a_whole(broker: InProcessBroker, transactional: RawChannel) -> None:
    other = broker.connect().channel(1)
    other.call(Exchange.Declare(exchange="x"))
    publish(transactional, LONG)
    publish(transactional, 1, "q", "x")
    other.call(Exchange.Delete(exchange="x"))
    transactional.send(Tx.Commit())
    transactional.expect_channel_close(404, "NOT_FOUND - no exchange 'x' in vhost '/'", Tx.Commit)
    assert broker.vhost.journal.unit_depth == 0
    assert other.counts("q")[0] == 0


def test_an_exchange_may_go_while_a_commit_is_under_way(broker: InProcessBroker, transactional: RawChannel) -> None:
    other = broker.connect().channel(1)
    other.call(Exchange.Declare(exchange="x"))
    other.bind("q", "x", "q")
    publish(transactional, LONG)
    publish(transactional, 10, "q", "x")
    transactional.send(Tx.Commit())
    while not broker.counters.messages_routed:
        broker.pass_turn()
    other.send(Exchange.Delete(exchange="x", nowait=True))
    transactional.expect(Tx.CommitOk)
    assert transactional.counts("q")[0] == LONG


def test_a_queue_may_be_deleted_while_a_commit_is_under_way(broker: InProcessBroker, transactional: RawChannel) -> None:
    other = broker.connect().channel(1)
    publish(transactional, LONG)
    transactional.send(Tx.Commit())
    while not broker.counters.messages_routed:
        broker.pass_turn()
    other.send(Queue.Delete(queue="q", nowait=True))
    transactional.expect(Tx.CommitOk)
    broker.settle()
    assert broker.vhost.journal.journal.live_record_count == 0


def take(broker: InProcessBroker, channel: RawChannel, count: int) -> None:
    """Have a transactional channel hold so many messages unacknowledged."""
    publish(channel, count)
    channel.call(Tx.Commit())
    channel.send(Basic.Consume(queue="q", consumer_tag="c"))
    broker.settle()
    channel.client.transport.sent.clear()  # type: ignore[attr-defined]
    channel.call(Basic.Cancel(consumer_tag="c"))
    assert broker.vhost.queues["q"].unacked_count == count


@pytest.mark.parametrize("commits", [True, False])
def test_many_acknowledgements_of_a_transaction(
    broker: InProcessBroker, transactional: RawChannel, commits: bool
) -> None:
    count = 2 * SETTLED_PER_TURN_MAX + 100
    take(broker, transactional, count)
    channel = transactional.client.connection.channels[1]  # type: ignore[attr-defined]
    transactional.send(Basic.Ack(count - 5, True))
    assert channel.unacked.count == count - SETTLED_PER_TURN_MAX
    broker.turns()
    assert channel.unacked.count == 5
    transactional.call(Tx.Commit() if commits else Tx.Rollback())
    assert channel.unacked.count == 5 if commits else count
    assert channel.unacked.tags() == list(range(count - 4 if commits else 1, count + 1))
    transactional.close()
    ready = [int(message.body) for _, message, _ in broker.vhost.queues["q"].entries(0, count)]
    assert ready == list(range(count - 5 if commits else 0, count))


def test_a_connection_is_lost_while_a_transaction_takes_its_acknowledgements(
    broker: InProcessBroker, transactional: RawChannel
) -> None:
    count = 2 * SETTLED_PER_TURN_MAX + 100
    take(broker, transactional, count)
    transactional.send(Basic.Ack(0, True))
    transactional.client.cut()  # type: ignore[attr-defined]
    queue = broker.vhost.queues["q"]
    assert (queue.ready_count(), queue.unacked_count, queue.pause_count) == (count, 0, 0)


def test_a_large_rollback_lets_go_in_several_turns(
    broker: InProcessBroker, transactional: RawChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(transactional, 2 * SETTLED_PER_TURN_MAX)
    forgotten = []
    go_on = transaction.Forgotten.go_on
    monkeypatch.setattr(
        transaction.Forgotten, "go_on", lambda self, count: forgotten.append(go_on(self, count)) or forgotten[-1]
    )
    transactional.call(Tx.Rollback())
    broker.turns()
    assert forgotten == [SETTLED_PER_TURN_MAX] * 2
    assert transactional.counts("q")[0] == 0


def test_a_connection_may_be_closed_behind_a_large_commit(broker: InProcessBroker, transactional: RawChannel) -> None:
    publish(transactional, LONG)
    close = frame(1, 0, method_payload(Connection.Close(200, "", 0, 0)))
    transactional.client.send_bytes(frame(1, 1, method_payload(Tx.Commit())) + close)
    transactional.client.expect(Connection.CloseOk)
    assert broker.connect().channel(1).counts("q") == (LONG, 0)
