"""The journal stays small, whatever is left of what came: the little that old segments are needed for is moved."""

import random
import select
from pathlib import Path

import pytest

from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.session.unacked import UnackedDeliveries
from storage.compactor import LIVING_RATIO_MAX, SEGMENTS_BEYOND
from tests.support.bare_vhost import BareVirtualHost, bodies

SEGMENT_SIZE = 1 << 14
PATIENCE_MS = 20_000


class Holding:
    """A channel that keeps what it gets."""

    def __init__(self, vhost) -> None:
        self.unacked = UnackedDeliveries()
        self.transaction = None
        self._tag = 0
        vhost.channels.add(self)

    def get(self, queue: Queue) -> int:
        """Take the first message of a queue; return its tag."""
        message = queue.take(False)
        assert message is not None
        self._tag += 1
        self.unacked.push(self._tag, message, queue.taken_position, queue, None)
        return self._tag

    def ack(self, tag: int) -> None:
        message = self.unacked.pop(tag)
        self.unacked.queue.settle(message, self.unacked.position)

    def requeue(self, tag: int) -> None:
        message = self.unacked.pop(tag)
        self.unacked.queue.requeue(message, self.unacked.position)


class Small(BareVirtualHost):
    """A virtual host with small segments, whose journal goes on when it is told to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, SEGMENT_SIZE)

    @property
    def journal(self):
        return self.vhost.journal.journal

    def turn(self) -> None:
        self.run()
        self.vhost._commit()
        if select.select([self.journal.completion_fd], [], [], 0)[0]:
            self.vhost._commit_finished()

    def until(self, condition) -> None:
        poll = select.poll()
        poll.register(self.journal.completion_fd, select.POLLIN)
        while True:
            self.run()
            self.vhost._commit()
            if condition():
                return
            assert poll.poll(PATIENCE_MS), "nothing happens any more"
            self.vhost._commit_finished()

    def limit(self) -> float:
        return LIVING_RATIO_MAX * self.journal.living_bytes + SEGMENTS_BEYOND * SEGMENT_SIZE

    def shrink(self) -> None:
        """Have everything done that compaction has to do."""
        self.until(lambda: self.journal.log_bytes <= self.limit())

    def numbers(self) -> list[int]:
        return sorted(int(path.name[8:]) for path in self.directory.glob("segment-????????????????"))

    def crash(self) -> None:
        self.journal.abandon()
        self._calls.clear()
        self.vhost = self._open()


def fill_segments(bare: Small, queue: Queue, holding: Holding, count: int) -> None:
    """Have messages come and go until ``count`` segments were filled, and keep the first of each segment."""
    last = 0
    number = 0
    while bare.journal.current.number <= count:
        number += 1
        bare.publish(queue.name, b"%d " % number + bytes(200))
        tag = holding.get(queue)
        if bare.journal.current.number != last:
            last = bare.journal.current.number
        else:
            holding.ack(tag)
        if number % 10 == 0:
            bare.turn()


def test_one_old_message_in_each_segment(tmp_path):
    bare = Small(tmp_path)
    queue = bare.declare("q")
    holding = Holding(bare.vhost)
    fill_segments(bare, queue, holding, 60)
    bare.shrink()
    kept = queue.unacked_count
    assert kept >= 40
    assert bare.journal.log_bytes <= bare.limit() < 5 * SEGMENT_SIZE
    assert bare.journal.compacted_bytes > 0
    before = {bytes(holding.unacked.pop(tag).body) for tag in holding.unacked.tags()}
    bare.restart()
    assert set(bodies(bare.vhost.queues["q"])) == before
    assert all(redelivered for _, _, redelivered in bare.vhost.queues["q"].entries(0, 1000))
    assert [p for p, _, _ in bare.vhost.queues["q"].entries(0, 1000)] == sorted(
        p for p, _, _ in bare.vhost.queues["q"].entries(0, 1000)
    )
    bare.close()


def test_a_stuck_backlog_is_not_copied_for_what_passes_behind_it(tmp_path):
    bare = Small(tmp_path)
    stuck, live = bare.declare("stuck"), bare.declare("live")
    for number in range(200):
        bare.publish("stuck", b"%d " % number + bytes(200))
    bare.turn()
    backlog = bare.journal.current.number
    assert backlog > 3
    holding = Holding(bare.vhost)
    for number in range(5000):
        bare.publish("live", bytes(200))
        holding.ack(holding.get(live))
        if number % 10 == 0:
            bare.turn()
    bare.shrink()
    assert bare.journal.compacted_bytes == 0
    assert bare.journal.segments_passed_over > 20
    bare.until(lambda: len(bare.numbers()) < backlog + 6)
    before = bodies(stuck)
    bare.crash()
    assert bodies(bare.vhost.queues["stuck"]) == before
    assert bodies(bare.vhost.queues["live"]) == []
    bare.restart()
    assert bodies(bare.vhost.queues["stuck"]) == before
    bare.close()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_meanwhile(tmp_path, seed):
    """Several queues, fan-out, settlements, returns, purges, paging and crashes while segments are compacted."""
    chance = random.Random(seed)
    print(f"seed {seed}")
    bare = Small(tmp_path)
    names = ["a", "b", "c"]
    for name in names:
        bare.declare(name, **({"delivery_limit": 1000, "queue_type": "quorum"} if name == "c" and seed % 2 else {}))
    living: dict[str, set[bytes]] = {name: set() for name in names}
    number = 0
    for _ in range(chance.randrange(2, 5)):
        holding = Holding(bare.vhost)
        queues = bare.vhost.queues
        tags: dict[int, tuple[str, bytes]] = {}
        for _ in range(chance.randrange(200, 1500)):
            fate = chance.random()
            name = chance.choice(names)
            if fate < 0.5:
                number += 1
                body = b"%d " % number + bytes(chance.choice([20, 200, 900]))
                targets = [queues[other] for other in chance.choice([[name], [name], names, names[:2]])]
                message = Message(b"\0\0", b"\0\x3c\0\0" + bytes(8) + b"\x10\0\2", body, True)
                positions = [queue.next_position() for queue in targets]
                bare.vhost.journal.publish_to_many(message, [queue.log for queue in targets], positions)
                for queue, position in zip(targets, positions, strict=True):
                    queue.enqueue(message, position, False)
                    living[queue.name].add(body)
            elif fate < 0.75 and queues[name].ready_count():
                if queues[name].waits_for_pages():
                    continue
                tag = holding.get(queues[name])
                body = next(b for t, b in [(tag, holding_body(holding, tag))] if t == tag)
                tags[tag] = (name, body)
            elif fate < 0.93 and tags:
                tag = chance.choice(list(tags))
                name, body = tags.pop(tag)
                if chance.random() < 0.8:
                    holding.ack(tag)
                    living[name].discard(body)
                else:
                    holding.requeue(tag)
            elif fate < 0.935:
                held = {body for queue_name, body in tags.values() if queue_name == name}
                queues[name].purge()
                living[name] &= held
            elif fate < 0.97:
                bare.vhost.pager.page_out(queues[name], 0, 1000)
            else:
                bare.turn()
        for tag in list(tags):
            if chance.random() < 0.5:
                holding.requeue(tag)
                del tags[tag]
        for _ in range(chance.randrange(60)):
            bare.turn()
        if chance.random() < 0.5:
            bare.shrink()
        bare.until(lambda: bare.journal.pending_batch == 0)
        if chance.random() < 0.7:
            bare.crash()
        else:
            bare.restart()
        for name in names:
            found = bodies(bare.vhost.queues[name])
            assert len(found) == len(set(found))
            assert set(found) == living[name], (name, set(found) ^ living[name])
    bare.close()


def holding_body(holding: Holding, tag: int) -> bytes:
    entries = holding.unacked
    message = entries.pop(tag)
    position, queue = entries.position, entries.queue
    # Tags ascend, and this is the last one.
    entries.push(tag, message, position, queue, None)
    return message.body
