"""Paging within a virtual host: what is paged out when, what is read when, and what may happen meanwhile."""

from pathlib import Path

import pytest
from pamqp.commands import Basic

from broker.administration import messages
from tests.support.paging_broker import PagingBroker, SteppedReading, paged

pytestmark = pytest.mark.timeout(60)

FETCHES_MAX = 256
MEBIBYTE = 1 << 20


def test_the_last_messages_leave_memory(broker: PagingBroker) -> None:
    queue = broker.declare("q")
    broker.publish(queue, count=10)
    assert queue.paged_count() == 0
    broker.settle()
    kept = 10 - queue.paged_count()
    assert kept in (1, 2)
    assert paged(queue) == list(range(kept + 1, 11))
    assert broker.vhost.budget.used_bytes == queue.memory_bytes() <= 600
    assert (queue.ready_count(), queue.ready_bytes()) == (10, 40)


@pytest.mark.parametrize("durable", [True, False])
def test_what_no_record_keeps_is_written_and_let_go(broker: PagingBroker, durable: bool) -> None:
    queue = broker.declare("q", durable=durable)
    broker.publish(queue, count=10, persistent=False)
    broker.settle()
    count = queue.paged_count()
    assert count >= 8
    assert broker.live_count == count
    queue.purge()
    broker.settle()
    assert broker.live_count == 0


def test_a_queue_that_is_not_durable_has_no_share_of_a_record(broker: PagingBroker) -> None:
    durable, fleeting = broker.declare("durable"), broker.declare("fleeting", durable=False)
    broker.publish(durable, fleeting, count=10)
    broker.settle()
    assert fleeting.paged_count() > 0
    assert broker.live_count == 10 + fleeting.paged_count()
    fleeting.purge()
    broker.settle()
    assert broker.live_count == 10
    durable.purge()
    broker.settle()
    assert broker.live_count == 0


def test_what_cannot_be_paged_out_costs_no_endless_search(broker: PagingBroker) -> None:
    """Of groups everything stays in memory; others are paged out all the same."""
    grouped, other = broker.declare("grouped", group_header="key"), broker.declare("other")
    broker.publish(grouped, count=300, headers={"key": "k"})
    broker.publish(grouped, count=300)
    broker.publish(other, count=10)
    broker.settle()
    assert grouped.paged_count() == 0
    assert other.paged_count() == 10
    assert broker.vhost.budget.used_bytes > 600


def test_many_small_queues_are_paged_out(broker: PagingBroker) -> None:
    queues = [broker.declare(f"q{number}") for number in range(2500)]
    broker.publish(*queues)
    broker.settle()
    assert sum(queue.paged_count() for queue in queues) >= len(queues) - 2
    assert broker.vhost.budget.used_bytes <= 600


def test_only_so_much_is_on_its_way_to_disk(broker: PagingBroker) -> None:
    queue = broker.declare("q")
    broker.publish(queue, count=40, persistent=False, size=MEBIBYTE)
    journal = broker.vhost.journal.journal
    most = 0
    while broker.loop.ready:
        calls, broker.loop.ready = broker.loop.ready, []
        for call in calls:
            call()
        most = max(most, journal.gathering_bytes)
    assert most < 20 * MEBIBYTE
    broker.settle()
    assert queue.paged_count() == 40


def test_what_is_looked_at_stays_in_memory_until_it_was_seen(broker: PagingBroker) -> None:
    queue, other = broker.declare("q"), broker.declare("other")
    broker.publish(queue, count=10)
    broker.settle()
    peeked, following = broker.complete(messages.peek(broker.vhost, "q", from_position=3))
    assert [one.position for one in peeked] == list(range(3, 11))
    assert following is None
    assert broker.complete(messages.move(broker.vhost, "q", [5, 9], routing_key="other")) == 2
    broker.settle()
    assert broker.vhost.budget.used_bytes <= 600
    assert (queue.ready_count(), other.ready_count()) == (8, 2)


def test_a_segment_may_go_while_it_is_read(tmp_path: Path) -> None:
    machine = SteppedReading()
    broker = PagingBroker(tmp_path, machine, message_memory_bytes=600)
    queue = broker.declare("q")
    broker.publish(queue, count=10, size=20_000)
    settle(broker)
    segments = broker.vhost.journal.journal.segment_count
    assert queue.paged_count() == 10
    broker.vhost.pager.want(queue)
    machine.read_all()
    fetches = broker.vhost.pager.reading_count
    queue.purge()
    # What was read is taken in only when the thread says so: here the segments go before.
    finished = machine.stepped.take_finished()
    while broker.vhost.journal.journal.segment_count >= segments:
        broker.publish(queue, size=20_000)
        settle(broker)
        queue.purge()
    assert fetches == len(finished) == 1
    broker.vhost.pager.fetched(finished[0])
    assert queue.ready_count() == 0
    assert broker.errors == []
    broker.crash()


def settle(broker: PagingBroker) -> None:
    """Let everything be done except for reading."""
    count, broker.vhost.pager.reading_count = broker.vhost.pager.reading_count, 0
    broker.settle()
    broker.vhost.pager.reading_count += count


def test_more_fetches_than_the_thread_takes(tmp_path: Path) -> None:
    machine = SteppedReading()
    broker = PagingBroker(tmp_path, machine, message_memory_bytes=600)
    queues = [broker.declare(f"q{number}") for number in range(3 * FETCHES_MAX)]
    broker.publish(*queues)
    broker.settle()
    finished = []
    for queue in queues:
        broker.vhost.pager.want(queue, (), lambda queue=queue: finished.append(queue))
    assert broker.vhost.pager.reading_count == FETCHES_MAX
    for queue in queues:
        queue.purge()
    machine.read_all()
    broker.settle()
    assert len(finished) == len(queues)
    assert broker.vhost.pager.reading_count == 0
    broker.crash()


def test_nothing_is_read_for_nobody(broker: PagingBroker) -> None:
    queue = broker.declare("q")
    broker.publish(queue, count=10, size=20_000)
    broker.settle()
    queue.wake()
    assert broker.vhost.pager.reading_count == 0
    broker.crash()
    broker.start()
    broker.settle()
    assert broker.vhost.queues["q"].ready_count() == 10


def test_a_consumer_gets_what_is_over_the_limit_before_it_is_dropped(broker: PagingBroker) -> None:
    queue = broker.declare("q", max_length=0)
    consumer = broker.connect().channel(1)
    consumer.call(Basic.Consume(queue="q"))
    broker.publish(queue, count=5)
    broker.settle()
    assert queue.unacked_count == 5
    broker.crash()
    broker.start()
    queue = broker.vhost.queues["q"]
    assert queue.ready_count() == 5
    assert queue.paged_count() > 0
    again = broker.connect().channel(1)
    again.call(Basic.Consume(queue="q"))
    broker.settle()
    assert (queue.ready_count(), queue.unacked_count) == (0, 5)
