"""A disk that lost thousands of records side by side: each costs its message, and nobody else waits for that."""

import time
from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm

from tests.conftest import StartBroker
from tests.integration.test_paging import PERSISTENT, body_of, metric, number_of
from tests.support.raw_client import RawChannel, RawClient
from tests.support.waiting import until

pytestmark = pytest.mark.haypile_only

SEGMENT_SIZE = 4 << 20
SETTINGS = {"message-memory-bytes": "200000", "journal-segment-size-bytes": str(SEGMENT_SIZE)}
COUNT = 5000
DAMAGED = range(1000, 4000)
LARGE = bytes(100_000)
LARGE_COUNT = 3 * SEGMENT_SIZE // len(LARGE)
WAIT_MAX_S = 2.0
"""Far more than a confirm takes on a machine that has other things to do, and far less than 3000 copies do."""


def damage(directory: Path) -> int:
    """Change a bit in the body of each message that is to be damaged, and return how many those were."""
    count = 0
    for path in directory.rglob("segment-*"):
        data = path.read_bytes()
        at = 0
        with path.open("r+b") as file:
            for number in DAMAGED:
                found = data.find(body_of(number), at)
                if found >= 0:
                    at = found
                    file.seek(found + 100)
                    file.write(bytes([data[found + 100] ^ 1]))
                    count += 1
    return count


def publish_and_wait(channel: RawChannel) -> float:
    """Publish a large message, and return how long its confirm took in seconds."""
    begin = time.monotonic()
    channel.publish(LARGE, "other", properties=PERSISTENT)
    channel.expect(Basic.Ack)
    return time.monotonic() - begin


def test_thousands_of_damaged_records_cost_their_messages_and_no_confirm_waits(start_broker: StartBroker) -> None:
    broker = start_broker(SETTINGS)
    with RawClient(broker.address) as client, RawClient(broker.address) as other:
        channel, publisher = client.open().channel(1), other.open().channel(1)
        for queue in ("q", "other"):
            channel.declare_queue(queue, durable=True)
        channel.call(Confirm.Select())
        for number in range(COUNT):
            channel.publish(body_of(number), "q", properties=PERSISTENT)
        while channel.expect(Basic.Ack).delivery_tag < COUNT:
            pass
        until(lambda: metric(broker, "rabbitmq_queue_messages_paged_out") >= COUNT - 1000)
        assert damage(broker.data_directory) == len(DAMAGED)

        publisher.call(Confirm.Select())
        publish_and_wait(publisher)
        channel.call(Basic.Qos(prefetch_count=100))
        channel.consume("q", no_ack=True)
        waits = [publish_and_wait(publisher) for _ in range(LARGE_COUNT)]
        numbers = [number_of(channel.deliver().body) for _ in range(COUNT - len(DAMAGED))]
        assert numbers == [number for number in range(COUNT) if number not in DAMAGED]
        until(lambda: metric(broker, "haypile_messages_quarantined_total") == len(DAMAGED))
        print(f"the confirm that took longest took {max(waits):.3f} s")
        assert max(waits) < WAIT_MAX_S
    broker.stop()
    copies = [path.read_bytes() for path in broker.data_directory.rglob("quarantine/*")]
    assert len(copies) < len(DAMAGED) // 100
    kept = b"".join(copies)
    assert all(body_of(number)[101:] in kept for number in DAMAGED)
