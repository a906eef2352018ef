"""What consumers settle takes as little as possible of the room that a full disk leaves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Basic

from storage.machine import Machine
from storage.options import JournalOptions
from tests.support.paging_broker import PagingBroker
from tests.unit.paging.test_full_disk import FullDisk

pytestmark = pytest.mark.timeout(60)

COUNT = 300


@pytest.fixture
def disk() -> FullDisk:
    return FullDisk()


@pytest.fixture
def broker(tmp_path: Path, disk: FullDisk) -> Iterator[PagingBroker]:
    """A broker that finds no room for another segment, with a queue that holds some messages."""
    opened = PagingBroker(tmp_path, Machine(disk), JournalOptions(1 << 20, 1 << 20))
    queue = opened.declare("q")
    opened.publish(queue, count=COUNT)
    opened.settle()
    disk.is_full = True
    while opened.vhost.journal.journal.out_of_room is None:
        opened.publish(opened.declare("other"), size=10_000)
        opened.settle()
    yield opened
    opened.crash()


def settle_one_by_one(broker: PagingBroker) -> None:
    channel = broker.connect().channel()
    channel.consume("q")
    for tag in range(1, COUNT + 1):
        channel.deliver()
        channel.send(Basic.Ack(tag))
        broker.settle()


def try_again(broker: PagingBroker) -> None:
    """Let the journal try for room, as it does once a second."""
    journal = broker.vhost.journal.journal
    tried = journal.sequence
    journal.retry()
    while journal.sequence == tried or journal.gathering_bytes or journal.in_flight_seconds:
        broker.vhost._commit_finished()
        broker.turns()


def test_what_is_settled_within_a_second_is_one_record(broker: PagingBroker) -> None:
    journal = broker.vhost.journal.journal
    before = journal.sequence
    settle_one_by_one(broker)
    assert journal.sequence - before < COUNT // 10
    try_again(broker)
    assert journal.sequence - before < COUNT // 10
    broker.crash()
    broker.start()
    assert broker.vhost.queues["q"].ready_count() == 0


def test_what_is_confirmed_has_all_before_it_settled(broker: PagingBroker) -> None:
    settle_one_by_one(broker)
    broker.publish(broker.vhost.queues["other"])
    broker.settle()
    assert broker.vhost.journal.journal.pending_batch == 0
    broker.crash()
    broker.start()
    assert broker.vhost.queues["q"].ready_count() == 0
