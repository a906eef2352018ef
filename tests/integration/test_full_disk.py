"""What clients and operators see when the disk is full, fails or does not answer: on real file systems."""

import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm, Connection

from tests.conftest import SHUTDOWN_TIMEOUT_MS
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import ALL_CAPABILITIES, RawChannel, RawClient
from tests.support.small_disk import MEBIBYTE, SmallDisk, image_disk, memory_disk
from tests.support.waiting import until

pytestmark = pytest.mark.haypile_only

SETTINGS = {
    "shutdown-timeout-ms": SHUTDOWN_TIMEOUT_MS,
    "journal-segment-size-bytes": str(MEBIBYTE),
    "disk-free-limit-bytes": "0",
}
PERSISTENT = Basic.Properties(delivery_mode=2)
PREPARED = {"segment-0000000000000002", "reserve-segment", "reserve-checkpoint"}
"""What a journal makes in the background."""

StartOn = Callable[..., BrokerProcess]


@pytest.fixture(params=[memory_disk, image_disk], ids=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    with request.param(tmp_path / "disk", 48 * MEBIBYTE) as small:
        yield small


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[SmallDisk]:
    with image_disk(tmp_path / "disk", 48 * MEBIBYTE) as small:
        yield small


@pytest.fixture
def start_on() -> Iterator[StartOn]:
    """Start brokers on disks; they are ended before the disks are unmounted."""
    started: list[BrokerProcess] = []

    def start(disk: SmallDisk, **settings: str) -> BrokerProcess:
        flags = {name.replace("_", "-"): value for name, value in settings.items()}
        broker = BrokerProcess(disk.path / "data", {**SETTINGS, **flags})
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        broker.stop()


def ask(broker: BrokerProcess, document: str) -> tuple[int, str]:
    host, port = broker.metrics_address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/{document}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metric(broker: BrokerProcess, name: str) -> float:
    match = re.search(rf"^{name}(?:{{.*}})? (\S+)$", ask(broker, "metrics")[1], re.MULTILINE)
    assert match is not None, name
    return float(match[1])


def health_says(broker: BrokerProcess, code: int, text: str) -> Callable[[], bool]:
    def says() -> bool:
        answer = ask(broker, "health")
        return answer[0] == code and text in answer[1]

    return says


class Publisher:
    """Publishes persistent messages and takes note of the confirms."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.channel = client.channel(1)
        self.channel.declare_queue("work", durable=True)
        self.channel.call(Confirm.Select())
        self.published = 0
        self.confirmed = 0

    def publish(self, size: int = 20_000) -> None:
        self.channel.publish(b"%d:" % self.published + bytes(size), "work", properties=PERSISTENT)
        self.published += 1

    def publish_until_blocked(self) -> str:
        """Publish, with few messages under way, until the broker takes no more; return why."""
        patience_s = self.client.socket.gettimeout()
        self.client.socket.settimeout(0.5)
        while True:
            try:
                if self.published - self.confirmed < 10:
                    self.publish()
                method = self.client.receive_frame().method
            except TimeoutError:
                # Nothing is confirmed any more; whether publishers have to wait learns who publishes.
                self.publish()
                continue
            if isinstance(method, Connection.Blocked):
                self.client.socket.settimeout(patience_s)
                return str(method.reason)
            self._note(method)

    def _note(self, method: object) -> None:
        assert isinstance(method, Basic.Ack)
        self.confirmed = method.delivery_tag

    def await_confirms(self) -> None:
        while self.confirmed < self.published:
            self._note(self.channel.expect(Basic.Ack))


def drain(channel: RawChannel) -> list[int]:
    """Return the numbers of all messages, and leave none."""
    numbers = []
    while (message := channel.get("work")) is not None:
        numbers.append(int(message.body.partition(b":")[0]))
    return numbers


def test_below_the_limit_publishers_wait_and_consumers_go_on(disk: SmallDisk, start_on: StartOn) -> None:
    broker = start_on(disk, disk_free_limit_bytes=str(12 * MEBIBYTE))
    publisher = Publisher(broker.connect().open())
    publisher.publish()
    publisher.await_confirms()
    assert metric(broker, "rabbitmq_alarms_free_disk_space_watermark") == 0
    assert metric(broker, "rabbitmq_disk_space_available_limit_bytes") == 12 * MEBIBYTE
    disk.fill(leave_bytes=10 * MEBIBYTE)
    until(health_says(broker, 200, "disk alarm: publishers are blocked"))
    assert metric(broker, "rabbitmq_alarms_free_disk_space_watermark") == 1
    publisher.publish()
    assert publisher.client.expect(Connection.Blocked).reason == "low on disk"
    with broker.connect().open() as other:
        channel = other.channel()
        channel.consume("work")
        assert [int(channel.deliver().body[:1]) for _ in range(2)] == [0, 1]
        channel.send(Basic.Ack(2, True))
        until(lambda: channel.counts("work")[0] == 0)
    disk.make_room()
    publisher.client.expect(Connection.Unblocked)
    publisher.publish()
    publisher.await_confirms()
    assert ask(broker, "health") == (200, "ready\n")
    assert '"disk alarm set"' in broker.log_text
    assert '"disk alarm cleared"' in broker.log_text


def test_both_alarms_are_named_as_rabbitmq_names_them(disk: SmallDisk, start_on: StartOn) -> None:
    broker = start_on(disk, disk_free_limit_bytes=str(1 << 40), memory_high_watermark_bytes="1")
    until(health_says(broker, 200, "disk and memory alarms: publishers are blocked"))
    with broker.connect().open() as client:
        client.channel().publish(b"m", "nowhere")
        assert client.expect(Connection.Blocked).reason == "low on disk & memory"


def test_what_there_is_no_room_for_waits_until_there_is(disk: SmallDisk, start_on: StartOn) -> None:
    broker = start_on(disk)
    publisher = Publisher(broker.connect().open())
    disk.fill()
    assert publisher.publish_until_blocked() == "low on disk"
    assert publisher.confirmed > 0
    until(lambda: '"errno": "ENOSPC"' in broker.log_text)
    assert str(disk.path) in broker.log_text
    assert metric(broker, "haypile_journal_out_of_room") == 1
    assert metric(broker, "haypile_journal_failed") == 0
    disk.make_room()
    publisher.client.expect(Connection.Unblocked)
    publisher.await_confirms()
    publisher.publish()
    publisher.await_confirms()
    assert ask(broker, "health") == (200, "ready\n")
    assert metric(broker, "haypile_journal_out_of_room") == 0
    assert '"there is room on the disk again"' in broker.log_text
    with broker.connect().open() as other:
        assert drain(other.channel()) == list(range(publisher.published))


def fill_to_the_last_octet(broker: BrokerProcess, disk: SmallDisk) -> Publisher:
    """Let the journal have no room for what it has to write, not even in a segment that was there before."""
    publisher = Publisher(broker.connect().open())
    for _ in range(20):
        publisher.publish()
    publisher.await_confirms()
    # Where one of these is still to be made, the alarm comes first, and the large message is not even read.
    until(lambda: {path.name for path in disk.path.rglob("*")} >= PREPARED)
    disk.fill()
    publisher.publish(8 * MEBIBYTE)
    until(health_says(broker, 503, "disk full: nothing is confirmed in vhost '/'"))
    publisher.publish()
    assert publisher.client.expect(Connection.Blocked).reason == "low on disk"
    assert publisher.confirmed == 20
    return publisher


def test_while_nothing_can_be_confirmed_the_broker_is_not_healthy(disk: SmallDisk, start_on: StartOn) -> None:
    broker = start_on(disk)
    publisher = fill_to_the_last_octet(broker, disk)
    with broker.connect().open() as other:
        # Consumers go on all the same.
        channel = other.channel()
        channel.consume("work")
        assert int(channel.deliver().body.partition(b":")[0]) == 0
    disk.make_room()
    publisher.client.expect(Connection.Unblocked)
    publisher.await_confirms()
    until(health_says(broker, 200, "ready"))


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_broker_that_ends_on_a_full_disk_has_what_it_confirmed(disk: SmallDisk, start_on: StartOn, end: str) -> None:
    broker = start_on(disk)
    publisher = fill_to_the_last_octet(broker, disk)
    if end == "kill":
        broker.kill()
    else:
        assert broker.terminate() == 0
    broker.start()
    with broker.connect().open() as client:
        found = drain(client.channel())
    assert found[: publisher.confirmed] == list(range(publisher.confirmed))


def test_a_disk_that_does_not_answer_is_reported_while_that_lasts(ext4: SmallDisk, start_on: StartOn) -> None:
    broker = start_on(ext4, journal_stall_warning_ms="300")
    publisher = Publisher(broker.connect().open())
    publisher.publish()
    publisher.await_confirms()
    with ext4.frozen():
        publisher.publish()
        until(health_says(broker, 503, "disk stalled: nothing is confirmed in vhost '/'"))
        assert "segment-" in ask(broker, "health")[1]
        assert metric(broker, "haypile_journal_in_flight_seconds") > 0.3
        publisher.channel.expect_silence()
    publisher.await_confirms()
    until(health_says(broker, 200, "ready"))
    # It is logged at the next look.
    until(lambda: '"disk stall has ended"' in broker.log_text)
    assert broker.log_text.count('"disk stalled; nothing is confirmed meanwhile"') == 1
    assert broker.log_text.count('"disk stall has ended"') == 1


def test_a_disk_that_fails_ends_confirms_and_whoever_waits_for_one(tmp_path: Path, start_on: StartOn) -> None:
    """The file system lies in an image for which there is no room any more: its writes are lost beneath it."""
    with (
        memory_disk(tmp_path / "beneath", 32 * MEBIBYTE) as beneath,
        image_disk(beneath.path / "disk", 256 * MEBIBYTE) as disk,
    ):
        broker = start_on(disk)
        # Whether the alarm comes first, as there is no room for the reserve, is chance; it is not what this is about.
        quiet = {name: True for name in ALL_CAPABILITIES if name != "connection.blocked"}
        publisher = Publisher(broker.connect().open(capabilities=quiet))
        publisher.publish()
        publisher.await_confirms()
        beneath.fill()
        publisher.publish(30 * MEBIBYTE)
        text = publisher.client.expect_connection_close(541)
        # The file system may notice before the journal does, and take no more writes then; and the next segment may be
        # what fails first, by the sync of the directory.
        assert re.match(r"INTERNAL_ERROR - journal failed: (syncing|writing) .*/(segment-\d+|_-\w+) failed: ", text)
        code, reason = ask(broker, "health")
        assert code == 503
        assert "journal of vhost '/' failed: " in reason
        assert metric(broker, "haypile_journal_failed") == 1
        assert re.search(r'"errno": "(EIO|EROFS)"', broker.log_text)
        other = broker.connect().open()
        other.channel().publish(b"refused", "work", properties=PERSISTENT)
        other.expect_connection_close(541)
        broker.stop()
