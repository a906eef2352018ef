"""The journal stays small, whatever is left of what came: the little that old segments are needed for is moved."""

import random
import select
from pathlib import Path

import pytest
from pamqp.commands import Basic, Queue, Tx

from broker.clock import now_ms
from storage.compactor import LIVING_RATIO_MAX, SEGMENTS_BEYOND
from storage.machine import Machine
from storage.options import JournalOptions
from tests.support.in_process import InProcessBroker
from tests.support.raw_client import Message, RawChannel

SEGMENT_SIZE = 1 << 14
PASSING_SIZE = 1500
"""Of messages that come and go to fill segments: each costs the test a sync."""

PERSISTENT = b"\x10\x00\x02"
PATIENCE_S = 20.0
HOUR_MS = 3_600_000


class Small(InProcessBroker):
    """A broker with small segments."""

    def __init__(self, directory: Path, machine: Machine | None = None) -> None:
        super().__init__(directory, machine, JournalOptions(SEGMENT_SIZE, SEGMENT_SIZE, 1))

    @property
    def journal(self):
        return self.vhost.journal.journal

    def go_on(self) -> None:
        """Let the loop take note of what the journal's threads have done, if they have."""
        self.turns()
        descriptor = self.journal.completion_fd
        if select.select([descriptor], [], [], 0)[0]:
            self.loop.readers[descriptor]()
        self.turns()

    def until(self, condition) -> None:
        descriptor = self.journal.completion_fd
        self.turns()
        while not condition():
            assert select.select([descriptor], [], [], PATIENCE_S)[0], "nothing happens any more"
            self.loop.readers[descriptor]()
            self.turns()

    def limit(self) -> float:
        return LIVING_RATIO_MAX * self.journal.living_bytes + SEGMENTS_BEYOND * SEGMENT_SIZE

    def shrink(self) -> None:
        """Have everything done that compaction has to do."""
        self.until(lambda: self.journal.log_bytes <= self.limit())

    def bodies(self, queue: str) -> list[bytes]:
        """What is ready in a queue, which stays there."""
        channel = self.connect().channel()
        found = []
        while (message := channel.get(queue, no_ack=False)) is not None:
            found.append(message.body)
        self.clients.pop().cut()
        return found


@pytest.fixture
def broker(tmp_path: Path):
    broker = Small(tmp_path)
    yield broker
    broker.stop()


def open_channel(broker: Small, *queues: str) -> RawChannel:
    channel = broker.connect().channel()
    for queue in queues:
        channel.declare_queue(queue, durable=True)
    return channel


def get(channel: RawChannel, queue: str) -> Message:
    message = channel.get(queue, no_ack=False)
    assert message is not None
    return message


def tag_of(message: Message) -> int:
    tag: int = message.method.delivery_tag
    return tag


def leave_one_in_each_segment(
    broker: Small, channel: RawChannel, queue: str, count: int, body_size: int = 200
) -> dict[int, bytes]:
    """Have messages come and go until ``count`` segments were filled; one of each stays unacknowledged."""
    kept: dict[int, bytes] = {}
    last = number = 0
    while broker.journal.current.number <= count:
        number += 1
        begins = broker.journal.current.number != last
        body = b"%d " % number + bytes(body_size if begins else PASSING_SIZE)
        channel.publish(body, queue, properties=PERSISTENT)
        message = get(channel, queue)
        if begins:
            last = broker.journal.current.number
            kept[tag_of(message)] = message.body
        else:
            channel.send(Basic.Ack(tag_of(message)))
        broker.go_on()
    return kept


def test_one_old_message_in_each_segment(broker):
    channel = open_channel(broker, "q")
    kept = leave_one_in_each_segment(broker, channel, "q", 60)
    assert len(kept) >= 60
    broker.shrink()
    assert broker.journal.log_bytes <= broker.limit() < 6 * SEGMENT_SIZE
    assert broker.journal.compacted_bytes >= 30 * 200
    # They can still be settled, and what is settled does not come back.
    for tag in list(kept)[::2]:
        channel.send(Basic.Ack(tag))
        del kept[tag]
    for tag in list(kept)[::3]:
        channel.send(Basic.Nack(tag, requeue=True))
    broker.settle()
    for other in ("first", "second"):
        broker.crash()
        broker.start()
        entries = broker.vhost.queues["q"].entries(0, 1000)
        assert all(redelivered for _, _, redelivered in entries)
        assert broker.bodies("q") == [kept[tag] for tag in sorted(kept)]
        channel = open_channel(broker, other)
        leave_one_in_each_segment(broker, channel, other, broker.journal.current.number + 20)
        broker.shrink()
        assert broker.journal.log_bytes < 8 * SEGMENT_SIZE


def test_hundreds_of_segments_go_while_nothing_is_written(broker):
    channel = open_channel(broker, "q")
    for number in range(1200):
        channel.publish(b"%d " % number + bytes(SEGMENT_SIZE // 4), "q", properties=PERSISTENT)
        broker.go_on()
    assert broker.journal.current.number > 300
    channel.call(Queue.Purge(queue="q"))
    broker.until(lambda: broker.journal.log_bytes <= SEGMENTS_BEYOND * SEGMENT_SIZE)


def test_hundreds_of_segments_are_compacted_while_nothing_is_written(broker):
    channel = open_channel(broker, "q")
    kept = [b"%d " % number + bytes(SEGMENT_SIZE // 4) for number in range(1200)]
    for body in kept:
        channel.publish(body, "q", properties=PERSISTENT)
        broker.go_on()
    # All at once, so that no segment could be compacted before.
    messages = [get(channel, "q") for _ in kept]
    for message in messages:
        if int(message.body.split()[0]) % 12:
            channel.send(Basic.Ack(tag_of(message)))
    broker.shrink()
    assert broker.journal.compacted_bytes > 0


def test_how_often_a_message_came_back_is_moved_with_it(broker):
    channel = broker.connect().channel()
    channel.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 20})
    channel.declare_queue("passing", durable=True)
    channel.publish(b"old", "q", properties=PERSISTENT)
    for _ in range(3):
        channel.send(Basic.Nack(tag_of(get(channel, "q")), requeue=True))
    leave_one_in_each_segment(broker, channel, "passing", 20)
    broker.shrink()
    assert min(segment for segment in broker.journal.sealed_segments()) > 2
    broker.crash()
    broker.start()
    assert broker.vhost.queues["q"].delivery_count(1) == 3
    assert [redelivered for _, _, redelivered in broker.vhost.queues["q"].entries(0, 10)] == [True]


@pytest.mark.parametrize("paged", [False, True], ids=["in memory", "paged out"])
def test_what_waits_because_it_came_back_is_moved_and_goes_on_waiting(broker, paged):
    channel = open_channel(broker, "q", "passing")
    channel.declare_queue("waiting", durable=True, arguments={"x-redelivery-delay": HOUR_MS})
    channel.publish(b"waits", "waiting", properties=PERSISTENT)
    channel.publish(b"moved", "q", properties=PERSISTENT)
    channel.send(Basic.Nack(tag_of(get(channel, "waiting")), requeue=True))
    broker.pass_time(HOUR_MS)
    channel.send(Basic.Nack(tag_of(get(channel, "waiting")), requeue=True))
    not_before_ms = now_ms() + HOUR_MS
    broker.settle()
    queue = broker.vhost.queues["waiting"]
    end = broker.journal.current.number
    if paged:
        assert queue.page_out(0, 1, []) == 1
    leave_one_in_each_segment(broker, channel, "passing", end + 40)
    broker.shrink()
    assert broker.journal.sealed_segments()[0] > end
    assert broker.journal.log_bytes <= broker.limit() < 6 * SEGMENT_SIZE
    for other in ("first", "second"):
        broker.crash()
        broker.start()
        queue = broker.vhost.queues["waiting"]
        assert [(at, until) for at, _, _, until in queue.waiting_entries(0, 10)] == [(1, not_before_ms)]
        assert queue.delivery_count(1) == 2
        channel = open_channel(broker, other)
        leave_one_in_each_segment(broker, channel, other, broker.journal.current.number + 20)
        broker.shrink()
        assert broker.journal.log_bytes < 8 * SEGMENT_SIZE, other
    broker.pass_time(not_before_ms - now_ms() - 1)
    assert queue.ready_count() == 0
    broker.pass_time(1)
    assert get(channel, "waiting").body == b"waits"


def test_what_was_settled_behind_its_copy_stays_settled_while_the_original_is_there(broker):
    """What somebody else has in hand is not moved, and so the segment stays from which others were."""
    channel = open_channel(broker, "q", "passing", "one", "other")
    for queue in ("one", "other"):
        channel.bind(queue, "amq.fanout")
    channel.publish(b"in hand", exchange="amq.fanout", properties=PERSISTENT)
    [(_, in_hand, _)] = broker.vhost.queues["one"].entries(0, 10)
    channel.publish(b"moved", "q", properties=PERSISTENT)
    moved = get(channel, "q")
    first = broker.journal.current.number
    kept = leave_one_in_each_segment(broker, channel, "passing", first + 12, body_size=1000)
    broker.until(lambda: broker.journal.compacted_bytes > 0)
    assert first in broker.journal.sealed_segments()
    for tag in (tag_of(moved), *kept):
        channel.send(Basic.Ack(tag))
    end = broker.journal.current.number + 6
    while broker.journal.current.number < end:
        channel.publish(bytes(2000), "passing", properties=PERSISTENT)
        channel.send(Basic.Ack(tag_of(get(channel, "passing"))))
        broker.go_on()
    broker.settle()
    broker.crash()
    broker.start()
    assert broker.bodies("q") == []
    assert broker.bodies("passing") == []
    assert broker.bodies("one") == broker.bodies("other") == [in_hand.body]


def test_a_stuck_backlog_is_not_copied_for_what_passes_behind_it(broker):
    channel = open_channel(broker, "stuck", "live")
    backlog = [b"%d " % number + bytes(200) for number in range(300)]
    for body in backlog:
        channel.publish(body, "stuck", properties=PERSISTENT)
    broker.settle()
    first = broker.journal.current.number
    assert first > 4
    while broker.journal.current.number < first + 40:
        channel.publish(bytes(PASSING_SIZE), "live", properties=PERSISTENT)
        channel.send(Basic.Ack(tag_of(get(channel, "live"))))
        broker.go_on()
    broker.until(lambda: broker.journal.segment_count <= first + 3)
    assert broker.journal.compacted_bytes == 0
    assert broker.journal.segments_passed_over > 30
    for _ in range(2):
        broker.crash()
        broker.start()
        assert broker.vhost.queues["live"].ready_count() == 0
        assert broker.bodies("stuck") == backlog


def test_a_message_of_several_queues_goes_on_in_those_that_hold_it(broker):
    queues = ["a", "b", "c"]
    channel = open_channel(broker, *queues, "passing")
    for queue in queues:
        channel.bind(queue, "amq.fanout")
    for number in range(30):
        channel.publish(b"%d" % number, exchange="amq.fanout", properties=PERSISTENT)
    for number in range(30):
        tags = [tag_of(get(channel, queue)) for queue in queues]
        if number % 3 == 0:
            channel.send(Basic.Ack(tags[0]))
        if number % 2 == 0:
            channel.send(Basic.Ack(tags[1]))
    leave_one_in_each_segment(broker, channel, "passing", 20)
    broker.shrink()
    assert broker.journal.sealed_segments()[0] > 2
    broker.crash()
    broker.start()
    assert broker.bodies("a") == [b"%d" % number for number in range(30) if number % 3]
    assert broker.bodies("b") == [b"%d" % number for number in range(30) if number % 2]
    assert broker.bodies("c") == [b"%d" % number for number in range(30)]


def test_what_a_transaction_has_taken_is_moved(broker):
    channel = open_channel(broker, "q", "passing")
    for body in (b"acknowledged", b"kept"):
        channel.publish(body, "q", properties=PERSISTENT)
    transacted = broker.connect().channel()
    transacted.call(Tx.Select())
    transacted.send(Basic.Ack(tag_of(get(transacted, "q"))))
    get(transacted, "q")
    leave_one_in_each_segment(broker, channel, "passing", 20)
    broker.shrink()
    assert broker.journal.sealed_segments()[0] > 2
    transacted.call(Tx.Commit())
    broker.crash()
    broker.start()
    assert broker.bodies("q") == [b"kept"]


def test_the_unacknowledged_messages_of_a_deleted_queue_do_not_keep_a_segment(broker):
    channel = open_channel(broker, "q", "passing")
    channel.publish(b"old", "q", properties=PERSISTENT)
    tag = tag_of(get(channel, "q"))
    channel.delete_queue("q")
    leave_one_in_each_segment(broker, channel, "passing", 20)
    broker.shrink()
    assert broker.journal.sealed_segments()[0] > 2
    channel.send(Basic.Ack(tag))
    broker.settle()
    broker.crash()
    broker.start()
    assert "q" not in broker.vhost.queues


@pytest.mark.parametrize("seed", range(16))
def test_whatever_happens_meanwhile(tmp_path, seed):
    """Fan-out, settlements, returns, purges, paging and crashes while segments are compacted."""
    chance = random.Random(seed)
    print(f"seed {seed}")
    names = ["a", "b", "c"]
    broker = Small(tmp_path)
    number = 0
    living: dict[str, dict[bytes, int]] = {name: {} for name in names}
    compacted = passed_over = 0
    for life in range(chance.randrange(2, 5)):
        channel = open_channel(broker)
        for name in names:
            channel.declare_queue(name, durable=True, arguments={"x-max-priority": 3} if name == "c" else {})
            channel.bind(name, "amq.fanout")
        held: dict[int, tuple[str, bytes]] = {}
        for _ in range(chance.randrange(300, 1500)):
            fate = chance.random()
            name = chance.choice(names)
            if fate < 0.4:
                number += 1
                body = b"%d " % number + bytes(chance.choice([20, 200, 900]))
                if chance.random() < 0.3:
                    channel.publish(body, exchange="amq.fanout", properties=PERSISTENT)
                    for other in names:
                        living[other][body] = number
                else:
                    channel.publish(body, name, properties=PERSISTENT)
                    living[name][body] = number
            elif fate < 0.75:
                message = channel.get(name, no_ack=False)
                if message is not None:
                    held[tag_of(message)] = name, message.body
            elif fate < 0.94 and held:
                tag = chance.choice(list(held)[:50])
                name, body = held.pop(tag)
                if chance.random() < 0.85:
                    channel.send(Basic.Ack(tag))
                    del living[name][body]
                else:
                    channel.send(Basic.Nack(tag, requeue=True))
            elif fate < 0.944:
                channel.call(Queue.Purge(queue=name))
                kept = {body for queue, body in held.values() if queue == name}
                living[name] = {body: at for body, at in living[name].items() if body in kept}
            elif fate < 0.97:
                broker.vhost.pager.page_out(broker.vhost.queues[name], 0, 1000)
            else:
                for _ in range(chance.randrange(6)):
                    broker.go_on()
        for _ in range(chance.randrange(60)):
            broker.go_on()
        if chance.random() < 0.5:
            for tag in list(held):
                channel.send(Basic.Nack(tag, requeue=True))
            broker.shrink()
        broker.settle()
        compacted += broker.journal.compacted_bytes
        passed_over += broker.journal.segments_passed_over
        if chance.random() < 0.7:
            broker.crash()
        else:
            broker.stop()
        broker.start()
        for name in names:
            found = broker.bodies(name)
            assert sorted(found) == sorted(living[name]), (life, name)
            assert found == sorted(found, key=living[name].get)
    broker.stop()
    print(f"{compacted} bytes compacted, {passed_over} segments passed over")


@pytest.mark.parametrize("seed", range(8))
def test_what_is_settled_behind_a_stuck_backlog_stays_settled(tmp_path, seed):
    """Now and then one of the old messages is settled, in a segment that would else go before its own."""
    chance = random.Random(seed)
    print(f"seed {seed}")
    broker = Small(tmp_path)
    channel = open_channel(broker, "stuck", "live")
    stuck = [b"%d " % number + bytes(200) for number in range(200)]
    for body in stuck:
        channel.publish(body, "stuck", properties=PERSISTENT)
    passed_over = 0
    for _ in range(3):
        channel = open_channel(broker, "stuck", "live")
        end = broker.journal.current.number + chance.randrange(5, 40)
        while broker.journal.current.number < end:
            channel.publish(bytes(PASSING_SIZE), "live", properties=PERSISTENT)
            channel.send(Basic.Ack(tag_of(get(channel, "live"))))
            if chance.random() < 0.01:
                message = get(channel, "stuck")
                if chance.random() < 0.7:
                    channel.send(Basic.Ack(tag_of(message)))
                    stuck.remove(message.body)
            broker.go_on()
        broker.settle()
        for _ in range(chance.randrange(20)):
            broker.go_on()
        passed_over += broker.journal.segments_passed_over
        broker.crash()
        broker.start()
        assert broker.vhost.queues["live"].ready_count() == 0
        assert broker.bodies("stuck") == stuck
    print(f"{passed_over} segments passed over")
    broker.stop()
