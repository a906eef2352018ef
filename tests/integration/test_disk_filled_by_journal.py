"""A disk that the broker itself has filled: consumers make room, and nothing has to come from outside."""

import pytest
from pamqp.commands import Basic, Connection, Queue

from tests.integration.test_full_disk import (
    Publisher,
    StartOn,
    ask,
    disk,
    drain,
    health_says,
    metric,
    start_on,
)
from tests.support.broker_process import BrokerProcess
from tests.support.small_disk import MEBIBYTE, SmallDisk
from tests.support.waiting import until

__all__ = ["disk", "start_on"]

pytestmark = pytest.mark.haypile_only


class LargePublisher(Publisher):
    """Publishes messages that fill a disk fast."""

    def publish(self, size: int = 150_000) -> None:
        super().publish(size)


def fill(broker: BrokerProcess) -> Publisher:
    """Publish until the broker takes no more."""
    publisher = LargePublisher(broker.connect().open())
    assert publisher.publish_until_blocked() == "low on disk"
    assert metric(broker, "haypile_journal_out_of_room") == 1
    return publisher


def consume(broker: BrokerProcess, count: int) -> list[int]:
    """Take so many messages and acknowledge each."""
    numbers = []
    with broker.connect().open() as client:
        channel = client.channel()
        channel.send(Basic.Qos(prefetch_count=10))
        channel.expect(Basic.QosOk)
        channel.consume("work")
        while len(numbers) < count:
            message = channel.deliver()
            numbers.append(int(message.body.partition(b":")[0]))
            channel.send(Basic.Ack(len(numbers)))
    return numbers


def test_consumers_make_room_and_publishers_go_on(disk: SmallDisk, start_on: StartOn) -> None:
    broker = start_on(disk)
    publisher = fill(broker)
    until(health_says(broker, 200, "disk alarm: publishers are blocked"))
    first = consume(broker, publisher.confirmed // 2)
    publisher.client.expect(Connection.Unblocked)
    publisher.publish()
    publisher.await_confirms()
    with broker.connect().open() as other:
        rest = drain(other.channel())
    assert sorted({*first, *rest}) == list(range(publisher.published))
    assert ask(broker, "health") == (200, "ready\n")


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_so_they_do_after_a_restart_on_the_full_disk(disk: SmallDisk, start_on: StartOn, end: str) -> None:
    broker = start_on(disk)
    publisher = fill(broker)
    if end == "kill":
        broker.kill()
    else:
        assert broker.terminate() == 0
    disk.fill()
    broker.start()
    again = Publisher(broker.connect().open())
    assert again.publish_until_blocked() == "low on disk"
    first = consume(broker, publisher.confirmed // 2)
    again.client.expect(Connection.Unblocked)
    again.await_confirms()
    with broker.connect().open() as other:
        rest = drain(other.channel())
    assert len(first) + len(rest) >= publisher.confirmed + again.published
    assert {*first, *rest} >= set(range(publisher.confirmed))


def test_a_purge_is_answered_and_makes_room(disk: SmallDisk, start_on: StartOn) -> None:
    broker = start_on(disk)
    publisher = fill(broker)
    with broker.connect().open() as other:
        channel = other.channel()
        purged = channel.call(Queue.Purge(queue="work"))
        assert purged.message_count >= publisher.confirmed
    publisher.client.expect(Connection.Unblocked)
    publisher.await_confirms()
    publisher.publish()
    publisher.await_confirms()


def test_a_fast_publisher_is_stopped_at_the_limit(disk: SmallDisk, start_on: StartOn) -> None:
    limit_bytes = 20 * MEBIBYTE
    broker = start_on(disk, disk_free_limit_bytes=str(limit_bytes))
    publisher = LargePublisher(broker.connect().open())
    assert publisher.publish_until_blocked() == "low on disk"
    # What was on its way may take a segment, and the next one is prepared ahead.
    assert disk.free_bytes >= limit_bytes - 3 * MEBIBYTE
    assert metric(broker, "haypile_journal_out_of_room") == 0
