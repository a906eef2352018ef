"""Retention is switched on by configuration, and asks every publish for its time."""

from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm, Tx

from broker.durability.queue_log import RECORD_KINDS
from storage.recovery import Recovery
from tests.conftest import StartBroker
from tests.support.raw_client import RawChannel

PERSISTENT = Basic.Properties(delivery_mode=2)
TRANSIENT = Basic.Properties(delivery_mode=1)


def publish_in_every_way(channel: RawChannel) -> int:
    """Publish persistent messages; return how many records that makes."""
    for queue in ("a", "b", "limited"):
        arguments = {"x-max-length": 100, "x-overflow": "reject-publish"} if queue == "limited" else {}
        channel.declare_queue(queue, durable=True, arguments=arguments)
        channel.bind(queue, "amq.fanout")
    channel.publish(b"one", "a", properties=PERSISTENT)
    channel.publish(b"asked", "limited", properties=PERSISTENT)
    channel.publish(b"many", "", "amq.fanout", properties=PERSISTENT)
    channel.publish(b"none", "a", properties=TRANSIENT)
    channel.call(Tx.Select())
    channel.publish(b"together", "b", properties=PERSISTENT)
    channel.call(Tx.Commit())
    return 4


def publishes_in(directory: Path) -> list[str]:
    (journal,) = {path.parent for path in directory.rglob("segment-*")}
    kinds = [record[0] for record in Recovery(journal).records()]
    names = {number: name for name, number in RECORD_KINDS.items()}
    return [names[kind] for kind in kinds if names[kind].startswith("publish")]


@pytest.mark.parametrize("setting", ["journal-retention-s", "journal-retention-bytes", None])
def test_publishes_have_their_time_if_they_are_kept(start_broker: StartBroker, setting: str | None) -> None:
    broker = start_broker({setting: "100000000"} if setting else {})
    channel = broker.connect().open().channel(1)
    count = publish_in_every_way(channel)
    assert broker.terminate() == 0
    expected = "publish_timed" if setting else "publish"
    assert publishes_in(broker.data_directory) == [expected] * count


def test_consumed_segments_stay_on_disk(start_broker: StartBroker) -> None:
    files = {}
    for setting in ("0", "3600"):
        broker = start_broker({"journal-retention-s": setting, "journal-segment-size-bytes": str(1 << 20)})
        channel = broker.connect().open().channel(1)
        channel.declare_queue("work", durable=True)
        channel.call(Confirm.Select())
        for number in range(200):
            channel.publish(bytes(100_000), "work", properties=PERSISTENT)
            if number % 10 == 9:
                last = 0
                while last < number + 1:
                    last = channel.expect(Basic.Ack).delivery_tag
                channel.bodies("work")
        assert broker.terminate() == 0
        files[setting] = len([path for path in broker.data_directory.rglob("segment-*") if not path.suffix])
    assert files["0"] < 8
    assert files["3600"] > 15
