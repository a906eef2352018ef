"""What compaction cannot move does not keep its segment for ever: damaged records, and places the disk refuses."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Basic

from broker.durability import leftovers
from storage import compactor
from storage.disk import PythonDisk
from storage.filesystem import LocalFilesystem
from storage.layout import segment_path
from storage.machine import Machine
from tests.support.raw_client import RawChannel
from tests.unit.durability.test_compaction import HOUR_MS, SEGMENT_SIZE, Small, get, open_channel, tag_of

PERSISTENT = b"\x10\x00\x02"
BLOCK_SIZE = 4096


class BadBlocks(LocalFilesystem):
    """A file system of whose files some blocks cannot be read."""

    def __init__(self) -> None:
        self.bad: dict[Path, set[int]] = {}
        self.attempt_count = 0

    def check(self, path: Path, offset: int, size: int) -> None:
        blocks = range(offset // BLOCK_SIZE, (offset + size - 1) // BLOCK_SIZE + 1)
        if not self.bad.get(path, set()).isdisjoint(blocks):
            raise OSError(errno.EIO, "bad block", str(path))

    def read_part(self, path: Path, offset: int, size: int) -> bytes:
        self.attempt_count += path in self.bad
        self.check(path, offset, size)
        return super().read_part(path, offset, size)

    def read_from_disk(self, path: Path, offset: int, size: int) -> bytes:
        self.check(path, offset, size)
        return super().read_from_disk(path, offset, size)


class BadBlocksToo(PythonDisk):
    """The same disk, as it is read when messages are brought back."""

    def __init__(self, filesystem: BadBlocks) -> None:
        self.filesystem = filesystem
        self.paths: dict[int, Path] = {}

    def on_open(self, path: str) -> int:
        descriptor = super().on_open(path)
        self.paths[descriptor] = Path(path)
        return descriptor

    def on_read(self, descriptor: int, size: int, offset: int) -> bytes:
        self.filesystem.check(self.paths[descriptor], offset, size)
        return super().on_read(descriptor, size, offset)


@pytest.fixture
def filesystem() -> BadBlocks:
    return BadBlocks()


@pytest.fixture
def broker(tmp_path: Path, filesystem: BadBlocks) -> Iterator[Small]:
    broker = Small(tmp_path, Machine(filesystem, BadBlocksToo(filesystem)))
    yield broker
    broker.stop()


def publish(broker: Small, channel: RawChannel, queue: str, *bodies: bytes) -> int:
    """Publish messages, and return the number of the segment that they are in."""
    number: int = broker.journal.current.number
    for body in bodies:
        channel.publish(body, queue, properties=PERSISTENT)
    broker.settle()
    assert broker.journal.current.number == number
    return number


def pass_through(broker: Small, channel: RawChannel, segments: int) -> list[int]:
    """Have messages come and go until so many more segments are full, and one of each is left. Returns their tags."""
    tags: list[int] = []
    for _ in range(segments):
        number = broker.journal.current.number
        channel.publish(b"kept", "passing", properties=PERSISTENT)
        tags.append(tag_of(get(channel, "passing")))
        while broker.journal.current.number == number:
            channel.publish(bytes(1500), "passing", properties=PERSISTENT)
            channel.send(Basic.Ack(tag_of(get(channel, "passing"))))
            broker.go_on()
    return tags


def flip(broker: Small, number: int, text: bytes, before: int = 0) -> int:
    """Damage a segment where ``text`` stands, or so many bytes before it; return the offset of the text."""
    path = segment_path(broker.journal.directory, number)
    at = path.read_bytes().index(text)
    with path.open("r+b") as file:
        file.seek(at - before)
        octet = file.read(1)
        file.seek(at - before)
        file.write(bytes([octet[0] ^ 1]))
    return at


def is_gone(broker: Small, number: int) -> bool:
    return number not in broker.journal.sealed_segments()


# Of a record's header, or of what it says of queues and positions, or of the body.
PLACES = {"body": 0, "entry": 30, "header": 60}


@pytest.mark.parametrize("place", PLACES)
def test_a_damaged_record_that_nobody_reads_costs_its_message_and_nothing_else(broker: Small, place: str) -> None:
    channel = open_channel(broker, "q", "passing")
    pass_through(broker, channel, 1)
    number = publish(broker, channel, "q", *[b"message %d" % at for at in range(5)])
    queue = broker.vhost.queues["q"]
    assert queue.page_out(0, 10, []) == 5
    flip(broker, number, b"message 2", PLACES[place])
    pass_through(broker, channel, 12)
    broker.until(lambda: is_gone(broker, number))
    assert broker.counters.messages_quarantined == 1
    assert broker.vhost.damage.summary() == "journal of vhost '/': 1 messages quarantined"
    assert queue.ready_count() == 4
    (copy,) = (broker.directory / "quarantine").iterdir()
    assert copy.name.startswith(f"segment-{number:016}-")
    assert b"essage 2" in copy.read_bytes()
    broker.shrink()
    assert broker.bodies("q") == [b"message 0", b"message 1", b"message 3", b"message 4"]
    broker.crash()
    broker.start()
    assert broker.bodies("q") == [b"message 0", b"message 1", b"message 3", b"message 4"]


def test_damage_to_the_records_of_messages_in_memory_costs_nothing(broker: Small) -> None:
    channel = open_channel(broker, "q", "passing", "one", "other")
    for queue in ("one", "other"):
        channel.bind(queue, "amq.fanout")
    channel.declare_queue("waiting", durable=True, arguments={"x-redelivery-delay": HOUR_MS})
    channel.declare_queue("grouped", durable=True, arguments={"x-group-header": "key"})
    pass_through(broker, channel, 1)
    for body in (b"leads", b"follows"):
        channel.publish(body, "grouped", properties=Basic.Properties(delivery_mode=2, headers={"key": "same"}))
    channel.publish(b"waits", "waiting", properties=PERSISTENT)
    channel.send(Basic.Nack(tag_of(get(channel, "waiting")), requeue=True))
    number = publish(broker, channel, "q", b"ready", b"taken")
    channel.publish(b"of both", exchange="amq.fanout", properties=PERSISTENT)
    taken = get(channel, "q")
    assert taken.body == b"ready"
    broker.settle()
    assert broker.journal.current.number == number
    for body in (b"ready", b"taken", b"of both", b"waits", b"leads", b"follows"):
        flip(broker, number, body)
    pass_through(broker, channel, 12)
    broker.until(lambda: is_gone(broker, number))
    assert broker.counters.messages_quarantined == 0
    assert broker.vhost.damage.rewritten_message_count == 6
    assert broker.vhost.damage.summary() == "journal of vhost '/': 6 messages written again in time"
    channel.send(Basic.Nack(tag_of(taken), requeue=True))
    broker.settle()
    for _ in range(2):
        broker.crash()
        broker.start()
        assert broker.bodies("q") == [b"ready", b"taken"]
        assert broker.bodies("one") == broker.bodies("other") == [b"of both"]
        assert len(broker.bodies("grouped")) == 1
        assert broker.vhost.queues["grouped"].ready_count() == 2
        assert len(broker.vhost.queues["waiting"].waiting_entries(0, 10)) == 1


def test_thousands_of_damaged_records_go_in_bounded_steps(broker: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "ENTRIES_PER_STEP", 16)
    monkeypatch.setattr(leftovers, "READ_COUNT_MAX", 7)
    channel = open_channel(broker, "q", "passing")
    pass_through(broker, channel, 1)
    bodies = [b"message %03d" % at for at in range(100)]
    number = publish(broker, channel, "q", *bodies)
    assert broker.vhost.queues["q"].page_out(0, 100, []) == 100
    for body in bodies[10:90]:
        flip(broker, number, body)
    pass_through(broker, channel, 12)
    broker.until(lambda: is_gone(broker, number))
    assert broker.counters.messages_quarantined == 80
    # They lie side by side, so that copies of many of them are one.
    copies = list((broker.directory / "quarantine").iterdir())
    assert len(copies) < 20
    broker.shrink()
    assert broker.bodies("q") == bodies[:10] + bodies[90:]


@pytest.mark.parametrize("block_count", [1, 2])
def test_a_place_that_the_disk_refuses_is_given_up_when_it_is_refused_again(
    broker: Small, filesystem: BadBlocks, block_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compactor, "REFUSED_MAX", 1)
    channel = open_channel(broker, "q", "passing")
    pass_through(broker, channel, 1)
    bodies = [b"message %d" % at + bytes(500) for at in range(24)]
    number = publish(broker, channel, "q", *bodies)
    assert broker.vhost.queues["q"].page_out(0, 30, []) == 24
    path = segment_path(broker.journal.directory, number)
    block = path.read_bytes().index(bodies[9]) // BLOCK_SIZE
    filesystem.bad[path] = set(range(block, block + block_count))
    pass_through(broker, channel, 14)
    broker.until(lambda: is_gone(broker, number))
    lost_count = broker.counters.messages_quarantined
    assert 0 < lost_count <= block_count * BLOCK_SIZE // 500 + 2
    assert list((broker.directory / "quarantine").iterdir())
    left = broker.bodies("q")
    assert len(left) == len(bodies) - lost_count
    assert left == [body for body in bodies if body in left]


def test_what_the_disk_refused_for_a_while_is_there_again(broker: Small, filesystem: BadBlocks) -> None:
    channel = open_channel(broker, "q", "passing")
    pass_through(broker, channel, 1)
    bodies = [b"message %d" % at + bytes(1000) for at in range(8)]
    number = publish(broker, channel, "q", *bodies)
    queue = broker.vhost.queues["q"]
    assert queue.page_out(0, 10, []) == 8
    path = segment_path(broker.journal.directory, number)
    filesystem.bad[path] = set(range(SEGMENT_SIZE))
    assert channel.get("q", no_ack=False) is None
    assert broker.counters.messages_quarantined == 8
    filesystem.bad.clear()
    pass_through(broker, channel, 12)
    broker.until(lambda: is_gone(broker, number))
    assert [redelivered for _, _, redelivered in queue.entries(0, 10)] == [True] * 8
    assert broker.bodies("q") == bodies
    assert not (broker.directory / "quarantine").exists()


def test_what_the_disk_refuses_is_written_anew_if_it_is_in_memory(broker: Small, filesystem: BadBlocks) -> None:
    channel = open_channel(broker, "q", "passing")
    pass_through(broker, channel, 1)
    bodies = [b"message %d" % at + bytes(1000) for at in range(8)]
    number = publish(broker, channel, "q", *bodies)
    path = segment_path(broker.journal.directory, number)
    filesystem.bad[path] = {path.read_bytes().index(bodies[4]) // BLOCK_SIZE}
    pass_through(broker, channel, 12)
    broker.until(lambda: is_gone(broker, number))
    assert broker.counters.messages_quarantined == 0
    assert broker.bodies("q") == bodies


def test_segments_behind_one_that_cannot_be_emptied_are_compacted(broker: Small, filesystem: BadBlocks) -> None:
    channel = open_channel(broker, "q", "passing")
    pass_through(broker, channel, 1)
    number = publish(broker, channel, "q", b"stuck")
    filesystem.bad[segment_path(broker.journal.directory, number)] = set(range(SEGMENT_SIZE))
    kept_count = len(pass_through(broker, channel, 60))
    broker.until(lambda: broker.journal.log_bytes <= broker.limit() + 4 * SEGMENT_SIZE)
    assert not is_gone(broker, number)
    # It is not read in vain for each of those that came.
    assert 4 <= filesystem.attempt_count <= 8
    broker.crash()
    filesystem.bad.clear()
    broker.start()
    assert broker.bodies("q") == [b"stuck"]
    assert broker.bodies("passing") == [b"kept"] * (kept_count + 1)
