"""What a broker says while it reads its journal."""

from pathlib import Path

from broker.configuration import Configuration
from broker.server import Broker, RecoveryProgress
from tests.support.broker_process import BrokerProcess


def test_health_says_how_far_it_has_come(tmp_path: Path) -> None:
    broker = Broker(Configuration(data_dir=str(tmp_path)))
    assert broker.health() == (False, "starting")
    progress = RecoveryProgress(broker, "/")
    progress(25, 100)
    assert broker.health() == (False, "starting: the journal of vhost '/' is being read, 25 %")
    progress(0, 0)
    assert broker.health() == (False, "starting: the journal of vhost '/' is being read, 100 %")


def test_the_log_says_it_too(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path, {"journal-segment-size-bytes": str(1 << 20)})
    try:
        broker.start()
        client = broker.connect().open()
        channel = client.channel()
        channel.declare_queue("q", durable=True)
        for _ in range(100):
            channel.publish(bytes(50_000), "q", properties=b"\x10\x00\x02")
        client.close()
        broker.kill()
        broker.log.clear()
        broker.start()
        assert "journal is being read" in broker.log_text
    finally:
        broker.stop()
