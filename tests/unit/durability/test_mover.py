"""What happens to a message between its copy and the end of the commit that brings the copy on disk."""

from pathlib import Path

import pytest
from pamqp.commands import Basic

from broker.clock import now_ms
from broker.durability.mover import EvacuationMover
from storage.layout import HEADER_SIZE, segment_path
from storage.options import JournalOptions
from tests.support.in_process import InProcessBroker
from tests.support.raw_client import RawChannel

SEGMENT_SIZE = 1 << 14
PERSISTENT = b"\x10\x00\x02"
EVERYTHING = 1 << 40
DELAY_MS = 60_000
KEPT = bytes(13_000)
"""Nothing is compacted where most of the log is needed."""


def copy_from(broker: InProcessBroker, number: int) -> EvacuationMover:
    """Have copies appended of what is needed of a segment; they are not taken for written yet."""
    journal = broker.vhost.journal.journal
    mover = EvacuationMover(broker.vhost.journal, [])
    mover.begin(journal.segment(number))
    assert mover.prepare()
    mover.offer(segment_path(journal.directory, number).read_bytes()[HEADER_SIZE:], HEADER_SIZE)
    while not mover.move():
        pass
    return mover


def pass_through(broker: InProcessBroker, channel: RawChannel, number: int) -> None:
    """Have messages come and go until the journal is in the segment of a number."""
    journal = broker.vhost.journal.journal
    while journal.current.number < number:
        channel.publish(bytes(2000), "passing", properties=PERSISTENT)
        message = channel.get("passing", no_ack=False)
        channel.send(Basic.Ack(message.method.delivery_tag))
        broker.settle()


@pytest.mark.parametrize("settled", [False, True], ids=["came back", "settled"])
def test_what_becomes_of_a_message_while_its_copy_is_written_is_kept_for_the_copy(
    tmp_path: Path, settled: bool
) -> None:
    broker = InProcessBroker(tmp_path, options=JournalOptions(SEGMENT_SIZE, SEGMENT_SIZE, 1))
    journal = broker.vhost.journal.journal
    channel = broker.connect().channel()
    channel.declare_queue("counted", durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 20})
    for name in ("passing", "kept"):
        channel.declare_queue(name, durable=True)
    channel.publish(KEPT, "kept", properties=PERSISTENT)
    pass_through(broker, channel, 2)
    channel.publish(b"moved", "counted", properties=PERSISTENT)
    pass_through(broker, channel, 3)
    queue = broker.vhost.queues["counted"]
    assert queue.page_out(0, 1, []) == 1

    segment = journal.segment(2)
    mover = copy_from(broker, 2)
    assert mover.moved_count == 1
    channel.publish(KEPT, "kept", properties=PERSISTENT)
    pass_through(broker, channel, 4)
    message = channel.get("counted", no_ack=False)
    tag = message.method.delivery_tag
    channel.send(Basic.Ack(tag) if settled else Basic.Nack(tag, requeue=True))
    broker.turns()
    mover.written(EVERYTHING)
    assert mover.end()
    assert segment.live == 0

    pass_through(broker, channel, 8)
    broker.crash()
    broker.start()
    queue = broker.vhost.queues["counted"]
    assert queue.ready_count() == (0 if settled else 1)
    assert queue.delivery_count(1) == (0 if settled else 1)
    broker.stop()


def test_a_message_that_comes_back_while_its_copy_is_written_waits_anew(tmp_path: Path) -> None:
    broker = InProcessBroker(tmp_path, options=JournalOptions(SEGMENT_SIZE, SEGMENT_SIZE, 1))
    channel = broker.connect().channel()
    channel.declare_queue("waiting", durable=True, arguments={"x-redelivery-delay": DELAY_MS})
    for name in ("passing", "kept"):
        channel.declare_queue(name, durable=True)
    channel.publish(KEPT, "kept", properties=PERSISTENT)
    pass_through(broker, channel, 2)
    channel.publish(b"waits", "waiting", properties=PERSISTENT)
    return_one(broker, channel)
    pass_through(broker, channel, 3)
    queue = broker.vhost.queues["waiting"]
    segment = broker.vhost.journal.journal.segment(2)
    assert queue.page_out(0, 1, []) == 1
    mover = copy_from(broker, 2)
    assert mover.moved_count == 1
    broker.pass_time(DELAY_MS)
    return_one(broker, channel)
    mover.written(EVERYTHING)
    assert mover.end()
    assert segment.live == 0

    [(_, _, _, not_before_ms)] = queue.waiting_entries(0, 10)
    assert not_before_ms == now_ms() + DELAY_MS
    channel.publish(KEPT, "kept", properties=PERSISTENT)
    pass_through(broker, channel, 8)
    broker.crash()
    broker.start()
    queue = broker.vhost.queues["waiting"]
    assert [(at, until) for at, _, _, until in queue.waiting_entries(0, 10)] == [(1, not_before_ms)]
    assert queue.delivery_count(1) == 2
    broker.stop()


def return_one(broker: InProcessBroker, channel: RawChannel) -> None:
    """Have a message come back, and wait."""
    message = channel.get("waiting", no_ack=False)
    assert message is not None
    channel.send(Basic.Nack(message.method.delivery_tag, requeue=True))
    broker.settle()
