"""Messages that cannot be read for want of file descriptors or memory: they are read later, and nothing is lost."""

import errno
import resource
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog
from pamqp.commands import Basic, Channel
from pamqp.commands import Queue as QueueMethods

from broker.administration import messages
from broker.paging.read_retry import DELAY_MAX_S, DELAY_MIN_S
from broker.queueing.queue import Queue
from storage.disk import Disk, PythonDisk
from storage.machine import Machine
from tests.support.paging_broker import PagingBroker, SteppedReading, paged

pytestmark = pytest.mark.timeout(60)

COUNT = 10
DELAY_MAX_MS = int(1000 * DELAY_MAX_S)
PASSING = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN]


class ScarceDisk(PythonDisk):
    """A disk that opens files, or reads them, only when it has what that needs."""

    def __init__(self) -> None:
        self.open_error = self.read_error = 0
        self.failures = 0
        self.spared: set[str] = set()
        self.paths: dict[int, str] = {}

    def on_open(self, path: str) -> int:
        if self.open_error and Path(path).name not in self.spared:
            self.failures += 1
            raise OSError(self.open_error, "open")
        descriptor = super().on_open(path)
        self.paths[descriptor] = Path(path).name
        return descriptor

    def on_read(self, descriptor: int, size: int, offset: int) -> bytes:
        if self.read_error and self.paths[descriptor] not in self.spared:
            self.failures += 1
            raise OSError(self.read_error, "read")
        return super().on_read(descriptor, size, offset)

    def lack(self, error: int) -> None:
        self.open_error = error if error in (errno.EMFILE, errno.ENFILE) else 0
        self.read_error = 0 if self.open_error else error


class Waits(Machine):
    """This machine, on which waiting takes no time and is counted; after ``until`` waits nothing is lacking."""

    def __init__(self, disk: ScarceDisk, until: int) -> None:
        super().__init__(disk=disk)
        self.scarce = disk
        self.until = until
        self.waits: list[float] = []

    def pause(self, duration_s: float) -> None:
        self.waits.append(duration_s)
        if len(self.waits) == self.until:
            self.scarce.lack(0)


@pytest.fixture
def disk() -> ScarceDisk:
    return ScarceDisk()


@pytest.fixture
def broker(tmp_path: Path, disk: ScarceDisk) -> Iterator[PagingBroker]:
    opened = PagingBroker(tmp_path, Machine(disk=disk), message_memory_bytes=600)
    yield opened
    opened.crash()


def numbers(bodies: list[bytes]) -> list[int]:
    return [int.from_bytes(body[:4], "big") for body in bodies]


def fill(broker: PagingBroker, name: str = "q", size: int = 4, **arguments: Any) -> Queue:
    """Have a queue with messages of which all but one or two are paged out."""
    queue = broker.declare(name, **arguments)
    broker.publish(queue, count=COUNT, size=size)
    broker.settle()
    assert queue.paged_count() >= COUNT - 2
    return queue


def ask(client: Any, method: Any) -> None:
    """Send a method to which the answer may take a while."""
    client.send(method, 1)
    client.broker.settle()


def answers(client: Any) -> list[str]:
    """Return what has been answered so far, by name."""
    found = []
    client.broker.settle()
    while client._frames or client._buffer or client.transport.sent:
        frame = client.receive_frame()
        if frame.type == 1:
            found.append(frame.method.name)
    return found


@pytest.mark.parametrize("error", PASSING, ids=errno.errorcode.get)
def test_it_is_tried_again_until_it_works(broker: PagingBroker, disk: ScarceDisk, error: int) -> None:
    queue = fill(broker)
    client = broker.connect()
    channel = client.channel()
    disk.lack(error)
    with structlog.testing.capture_logs() as lines:
        channel.consume("q", no_ack=True)
        for _ in range(20):
            broker.pass_time(DELAY_MAX_MS)
        assert queue.ready_count() == queue.paged_count() > 0
        attempts = broker.counters.page_reads_retried
        assert 20 <= attempts <= 22
        disk.lack(0)
        broker.pass_time(DELAY_MAX_MS)
        assert numbers(channel.deliver_many(COUNT)) == list(range(COUNT))
    assert [line["log_level"] for line in lines if line["area"] == "paging"] == ["warning", "info"]
    assert lines[0]["errno"] == errno.errorcode[error]
    assert broker.counters.messages_quarantined == 0
    assert broker.counters.page_reads_retried == attempts
    broker.settle()
    assert (queue.ready_count(), broker.live_count) == (0, 0)


def test_it_is_tried_more_and_more_seldom(broker: PagingBroker, disk: ScarceDisk) -> None:
    fill(broker)
    disk.lack(errno.EMFILE)
    broker.connect().channel().consume("q")
    times = []
    for now_ms in range(0, 60_000, 25):
        before = broker.counters.page_reads_retried
        broker.pass_time(25)
        if broker.counters.page_reads_retried > before:
            times.append(now_ms)
    gaps = [after - before for before, after in pairwise(times)]
    assert times[0] <= 2 * 1000 * DELAY_MIN_S
    assert gaps == sorted(gaps)
    assert gaps[-1] == DELAY_MAX_MS
    assert len(times) < 25


def test_lasting_damage_still_costs_its_message(broker: PagingBroker, disk: ScarceDisk) -> None:
    queue = fill(broker)
    disk.lack(errno.EIO)
    channel = broker.connect().channel()
    channel.consume("q", no_ack=True)
    broker.settle()
    assert queue.ready_count() == 0
    assert broker.counters.messages_quarantined >= COUNT - 2
    assert broker.counters.page_reads_retried == 0


def test_other_queues_go_on_meanwhile(broker: PagingBroker, disk: ScarceDisk) -> None:
    first, second = fill(broker, "first", size=20_000), fill(broker, "second", size=20_000)
    needed = {entry[1].location >> 32 for entry in second.entries(0, COUNT)}
    disk.spared = {f"segment-{number:016}" for number in needed}
    disk.lack(errno.EMFILE)
    waiting, going = broker.connect().channel(), broker.connect().channel()
    waiting.consume("first", no_ack=True)
    broker.pass_time(DELAY_MAX_MS)
    going.consume("second", no_ack=True)
    assert numbers(going.deliver_many(COUNT)) == list(range(COUNT))
    assert first.ready_count() > 0
    assert second.ready_count() == 0
    disk.lack(0)
    broker.pass_time(DELAY_MAX_MS)
    assert numbers(waiting.deliver_many(COUNT)) == list(range(COUNT))


def test_what_could_be_read_is_delivered_and_the_rest_comes_in_order(broker: PagingBroker, disk: ScarceDisk) -> None:
    queue = fill(broker, size=20_000)
    locations = [entry[1].location >> 32 for entry in queue.entries(0, COUNT)]
    assert locations[0] != locations[-1]
    disk.spared = {f"segment-{locations[0]:016}"}
    disk.lack(errno.EMFILE)
    channel = broker.connect().channel()
    channel.consume("q", no_ack=True)
    broker.settle()
    readable = locations.count(locations[0])
    assert queue.ready_count() == COUNT - readable
    disk.lack(0)
    broker.pass_time(DELAY_MAX_MS)
    assert numbers(channel.deliver_many(COUNT)) == list(range(COUNT))


def waiting_get(broker: PagingBroker, disk: ScarceDisk) -> Any:
    """Return a client that waits for the first message of a queue, which cannot be read."""
    client = broker.connect()
    channel = client.channel()
    # Its messages in memory are taken, so that the first one has to be read.
    while not broker.vhost.queues["q"].waits_for_pages():
        assert channel.get("q") is not None
    disk.lack(errno.ENOMEM)
    ask(client, Basic.Get(queue="q", no_ack=True))
    assert answers(client) == []
    return client


def test_a_get_waits(broker: PagingBroker, disk: ScarceDisk) -> None:
    queue = fill(broker)
    client = waiting_get(broker, disk)
    first = paged(queue)[0]
    ask(client, Basic.Get(queue="q", no_ack=True))
    for _ in range(3):
        broker.pass_time(DELAY_MAX_MS)
    assert answers(client) == []
    disk.lack(0)
    broker.pass_time(DELAY_MAX_MS)
    assert answers(client) == ["Basic.GetOk", "Basic.GetOk"]
    assert queue.entries(0, 1)[0][0] == first + 2


def test_a_queue_that_is_purged_while_a_get_waits(broker: PagingBroker, disk: ScarceDisk) -> None:
    queue = fill(broker)
    client = waiting_get(broker, disk)
    assert queue.purge() > 0
    broker.publish(queue, count=1)
    broker.pass_time(DELAY_MAX_MS)
    assert answers(client) == ["Basic.GetOk"]
    assert queue.ready_count() == 0
    broker.settle()
    assert broker.live_count == 0


def test_a_queue_that_is_deleted_while_a_get_waits(broker: PagingBroker, disk: ScarceDisk) -> None:
    fill(broker)
    client = waiting_get(broker, disk)
    assert broker.connect().channel().call(QueueMethods.Delete(queue="q")).message_count > 0
    broker.pass_time(DELAY_MAX_MS)
    assert answers(client) == ["Basic.GetEmpty"]
    broker.settle()
    assert broker.live_count == 0
    for _ in range(3):
        broker.pass_time(DELAY_MAX_MS)
    assert broker.loop.alarms == []


@pytest.mark.parametrize("whole_connection", [False, True], ids=["channel", "connection"])
def test_a_session_that_ends_while_a_get_waits_takes_nothing_with_it(
    broker: PagingBroker, disk: ScarceDisk, whole_connection: bool
) -> None:
    queue = fill(broker)
    client = waiting_get(broker, disk)
    left = queue.ready_count()
    if whole_connection:
        client.cut()
        broker.clients.remove(client)
    else:
        ask(client, Channel.Close(200, "", 0, 0))
    broker.pass_time(DELAY_MAX_MS)
    disk.lack(0)
    broker.pass_time(DELAY_MAX_MS)
    assert queue.ready_count() == left
    channel = broker.connect().channel()
    assert numbers([channel.get("q").body for _ in range(left)]) == list(range(COUNT - left, COUNT))


def test_a_consumer_that_goes_leaves_nothing_to_be_tried(broker: PagingBroker, disk: ScarceDisk) -> None:
    queue = fill(broker)
    disk.lack(errno.EMFILE)
    client = broker.connect()
    tag = client.channel().consume("q")
    broker.pass_time(DELAY_MAX_MS)
    ask(client, Basic.Cancel(tag))
    with structlog.testing.capture_logs() as lines:
        broker.pass_time(2 * DELAY_MAX_MS)
        broker.pass_time(2 * DELAY_MAX_MS)
    assert [line["log_level"] for line in lines if line["area"] == "paging"] == ["info"]
    assert broker.loop.alarms == []
    assert queue.paged_count() > 0


def test_expiry_goes_on_when_it_can(broker: PagingBroker, disk: ScarceDisk) -> None:
    dead = broker.declare("dead")
    queue = broker.declare("q", message_ttl=1000, dead_letter_exchange="", dead_letter_routing_key="dead")
    broker.publish(queue, count=COUNT)
    broker.settle()
    disk.lack(errno.ENOMEM)
    for _ in range(3):
        broker.pass_time(DELAY_MAX_MS)
    assert queue.ready_count() + dead.ready_count() == COUNT
    disk.lack(0)
    for _ in range(2):
        broker.pass_time(DELAY_MAX_MS)
    assert (queue.ready_count(), dead.ready_count()) == (0, COUNT)
    assert broker.counters.messages_quarantined == 0


def test_who_looks_at_messages_waits_for_them(broker: PagingBroker, disk: ScarceDisk) -> None:
    fill(broker)
    disk.lack(errno.EMFILE)
    pass_time, broker.settle_before = broker.pass_time, broker.settle  # type: ignore[attr-defined]

    def settle_and_let_time_pass() -> None:
        broker.settle_before()  # type: ignore[attr-defined]
        assert broker.counters.page_reads_retried == 1
        disk.lack(0)
        broker.settle = broker.settle_before  # type: ignore[attr-defined, method-assign]
        pass_time(DELAY_MAX_MS)

    broker.settle = settle_and_let_time_pass  # type: ignore[method-assign]
    peeked, _ = broker.complete(messages.peek(broker.vhost, "q"))
    assert [one.position for one in peeked] == list(range(1, COUNT + 1))


def test_what_happens_between_a_failure_and_the_next_attempt(tmp_path: Path) -> None:
    """With a fetcher that reads when it is told to: a purge, and a new message at another place."""
    disk = ScarceDisk()
    machine = SteppedReading(disk=disk)
    broker = PagingBroker(tmp_path, machine, message_memory_bytes=600)
    queue = broker.declare("q")
    broker.publish(queue, count=COUNT)
    broker.turns()
    while broker.vhost.journal.journal.in_flight_seconds or queue.paged_count() < COUNT - 2:
        broker.settle()
    finished: list[int] = []
    disk.lack(errno.EMFILE)
    for number, positions in enumerate([(), (COUNT,), (COUNT - 1,)]):
        broker.vhost.pager.want(queue, positions, lambda number=number: finished.append(number))
    machine.read_all()
    broker.settle()
    # The first of all messages is in memory, and that is all that whoever wants the next ones has to know.
    assert finished == [0]
    assert broker.counters.page_reads_retried == 3
    queue.remove(COUNT)
    disk.lack(0)
    broker.pass_clock(DELAY_MAX_MS)
    broker.turns()
    assert finished == [0, 1]
    assert broker.vhost.pager.reading_count == 1
    queue.purge()
    machine.read_all()
    broker.settle()
    assert finished == [0, 1, 2]
    assert queue.ready_count() == queue.paged_count() == 0
    broker.crash()


def test_a_start_waits_a_little(tmp_path: Path, disk: ScarceDisk) -> None:
    broker = PagingBroker(tmp_path)
    broker.publish(broker.declare("q", message_ttl=3_600_000), count=COUNT)
    broker.settle()
    broker.crash()
    machine = broker.machine = Waits(disk, 5)
    disk.lack(errno.ENOMEM)
    broker.start()
    entries = broker.vhost.queues["q"].entries(0, COUNT)
    assert numbers([entry[1].body for entry in entries]) == list(range(COUNT))
    assert len(machine.waits) == 5
    assert broker.counters.messages_quarantined == 0
    broker.crash()
    # And ends without having lost anything, if that does not help.
    machine = broker.machine = Waits(disk, -1)
    disk.lack(errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        broker.start()
    assert sum(machine.waits) < 5
    disk.lack(0)
    broker.start()
    assert broker.vhost.queues["q"].ready_count() == COUNT
    broker.crash()


def test_without_descriptors_in_earnest(tmp_path: Path) -> None:
    """The real disk, and a process that may not open one more file."""
    broker = PagingBroker(tmp_path, Machine(disk=Disk()), message_memory_bytes=600)
    queue = fill(broker)
    channel = broker.connect().channel()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # What is open stays so.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        channel.consume("q", no_ack=True)
        broker.pass_time(DELAY_MAX_MS)
        assert broker.counters.page_reads_retried == 2
        assert queue.ready_count() > 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    broker.pass_time(DELAY_MAX_MS)
    assert numbers(channel.deliver_many(COUNT)) == list(range(COUNT))
    broker.crash()
