"""A journal that has failed takes nothing any more; what is in the queues stays there as long as the process lives."""

import errno
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Basic

from broker.queueing.queue import Queue
from storage.disk import PythonDisk
from storage.errors import JournalFailed
from storage.machine import Machine
from tests.support.paging_broker import PagingBroker, paged
from tests.support.raw_client import RawChannel

pytestmark = pytest.mark.timeout(60)

COUNT = 20
PATIENCE_S = 10.0


class FailingDisk(PythonDisk):
    """A disk that fails, as soon as it is told to, when it writes or when it syncs."""

    def __init__(self) -> None:
        self.fails_at = ""
        self.failures = 0

    def _fail(self, operation: str) -> None:
        if operation == self.fails_at:
            self.failures += 1
            raise OSError(errno.EIO, operation)

    def on_write(self, descriptor: int, data: bytes, offset: int) -> None:
        self._fail("write")
        super().on_write(descriptor, data, offset)

    def on_sync(self, descriptor: int) -> None:
        self._fail("sync")
        super().on_sync(descriptor)


class FailingBroker(PagingBroker):
    """A broker that goes on without its journal."""

    def settle(self) -> None:
        self.turns()
        journal = self.vhost.journal.journal
        while self.vhost.pager.reading_count or (
            not journal.failed and (journal.in_flight_seconds or journal.gathering_bytes)
        ):
            readable, _, _ = select.select([journal.completion_fd], [], [], PATIENCE_S)
            assert readable, "neither commit nor reading ends"
            journal.on_commit_finished()
            self.turns()

    def fail(self, disk: FailingDisk, at: str) -> None:
        """Have the journal fail with a message that nobody else sees."""
        queue = self.declare("unlucky")
        disk.fails_at = at
        self.publish(queue)
        self.settle()
        assert self.vhost.journal.journal.failed
        assert [type(error) for error in self.errors] == [JournalFailed]


@pytest.fixture
def disk() -> FailingDisk:
    return FailingDisk()


@pytest.fixture
def broker(tmp_path: Path, disk: FailingDisk) -> Iterator[FailingBroker]:
    opened = FailingBroker(tmp_path, Machine(disk=disk), message_memory_bytes=600)
    yield opened
    opened.crash()


def numbers(queue: Queue) -> list[int]:
    """Return the numbers of all messages, which are in memory."""
    return [int.from_bytes(message.body[:4], "big") for _, message, _ in queue.entries(0, 10 * COUNT)]


def delivered(channel: RawChannel, count: int) -> list[int]:
    return [int.from_bytes(body[:4], "big") for body in channel.deliver_many(count)]


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "fleeting"])
@pytest.mark.parametrize("at", ["write", "sync"])
def test_what_was_to_be_paged_out_stays_in_memory(
    broker: FailingBroker, disk: FailingDisk, at: str, durable: bool
) -> None:
    broker.fail(disk, at)
    failures = disk.failures
    queue = broker.declare("q", durable=False)
    if durable:
        queue = broker.vhost.queues["unlucky"]
        queue.purge()
    broker.publish(queue, count=COUNT, persistent=False)
    broker.settle()
    assert broker.vhost.budget.used_bytes > 600
    assert (queue.ready_count(), queue.paged_count()) == (COUNT, 0)
    assert numbers(queue) == list(range(COUNT))
    assert disk.failures == failures
    channel = broker.connect().channel()
    channel.consume(queue.name, no_ack=True)
    assert delivered(channel, COUNT) == list(range(COUNT))
    assert queue.memory_bytes() == 0


def test_what_is_on_its_way_when_the_journal_fails_stays_in_memory(broker: FailingBroker, disk: FailingDisk) -> None:
    queue = broker.declare("q", durable=False)
    disk.fails_at = "write"
    broker.publish(queue, count=COUNT, persistent=False)
    broker.settle()
    assert broker.vhost.journal.journal.failed
    assert queue.paged_count() == 0
    assert numbers(queue) == list(range(COUNT))
    # It is paged out no more, and everything that can be done to it can.
    broker.publish(queue, count=COUNT, persistent=False)
    broker.settle()
    channel = broker.connect().channel()
    got = channel.get("q", no_ack=False)
    assert got is not None
    channel.send(Basic.Nack(got.method.delivery_tag, requeue=True))
    broker.settle()
    assert numbers(queue) == [*range(COUNT), *range(COUNT)]
    assert queue.purge() == 2 * COUNT
    broker.settle()
    assert (queue.ready_count(), queue.memory_bytes()) == (0, 0)


@pytest.mark.parametrize("at", ["write", "sync"])
def test_persistent_messages_that_did_not_get_to_the_disk_stay_in_memory(
    broker: FailingBroker, disk: FailingDisk, at: str
) -> None:
    queue = broker.declare("q")
    broker.settle()
    disk.fails_at = at
    broker.publish(queue, count=COUNT)
    broker.settle()
    assert broker.vhost.journal.journal.failed
    assert queue.paged_count() == 0
    assert numbers(queue) == list(range(COUNT))
    with pytest.raises(JournalFailed):
        broker.publish(queue)
    assert queue.ready_count() == COUNT


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "transient"])
@pytest.mark.parametrize("at", ["write", "sync"])
def test_what_was_paged_out_before_is_read_all_the_same(
    broker: FailingBroker, disk: FailingDisk, at: str, persistent: bool
) -> None:
    queue = broker.declare("q")
    broker.publish(queue, count=COUNT, persistent=persistent)
    broker.settle()
    assert len(paged(queue)) >= COUNT - 2
    broker.fail(disk, at)
    channel = broker.connect().channel()
    first = channel.get("q", no_ack=False)
    assert first is not None
    channel.consume("q", no_ack=True)
    assert delivered(channel, COUNT - 1) == list(range(1, COUNT))
    channel.send(Basic.Nack(first.method.delivery_tag, requeue=True))
    assert delivered(channel, 1) == [0]
    assert broker.counters.messages_quarantined == 0
