"""Queues that hold far more than the memory that messages may take: clients see the same as ever."""

import re
import struct
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm, Queue

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawChannel, RawClient
from tests.support.waiting import until

pytestmark = pytest.mark.haypile_only

SETTINGS = {"message-memory-bytes": "200000", "journal-segment-size-bytes": str(1 << 20)}
COUNT = 3000
"""Of messages of 500 octets: seven times as much as may be in memory."""
PERSISTENT = Basic.Properties(delivery_mode=2)
TRANSIENT = Basic.Properties(delivery_mode=1)


def body_of(number: int) -> bytes:
    return struct.pack(">I", number) + bytes([number % 256]) * 496


def number_of(body: bytes) -> int:
    number = int(struct.unpack_from(">I", body)[0])
    assert body == body_of(number)
    return number


@pytest.fixture
def broker(start_broker: StartBroker) -> BrokerProcess:
    return start_broker(SETTINGS)


@pytest.fixture
def channel(broker: BrokerProcess) -> Iterator[RawChannel]:
    with RawClient(broker.address) as client:
        yield client.open().channel(1)


def take_and_give_back(channel: RawChannel, queue: str, count: int) -> None:
    """Consume so many messages, and requeue them all."""
    channel.call(Basic.Qos(prefetch_count=count))
    tag = channel.consume(queue)
    for _ in range(count):
        channel.deliver()
    channel.call(Basic.Cancel(consumer_tag=tag))
    channel.send(Basic.Nack(delivery_tag=count, multiple=True, requeue=True))


def fill(
    channel: RawChannel, *queues: str, count: int = COUNT, properties: Basic.Properties = PERSISTENT, first: int = 0
) -> None:
    """Publish numbered messages, wait until the broker has them, and for what it pages out to be on disk."""
    for number in range(first, first + count):
        for queue in queues:
            channel.publish(body_of(number), queue, properties=properties)
    for queue in queues:
        channel.call(Queue.Declare(queue=queue, passive=True))


def metric(broker: BrokerProcess, name: str) -> float:
    host, port = broker.metrics_address
    with urllib.request.urlopen(f"http://{host}:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + " ", name + "{")))


def take_all(channel: RawChannel, queue: str, count: int = COUNT, prefetch_count: int = 100) -> list[int]:
    """Consume ``count`` messages, acknowledging each."""
    channel.call(Basic.Qos(prefetch_count=prefetch_count))
    tag = channel.consume(queue)
    numbers = []
    for _ in range(count):
        message = channel.deliver()
        numbers.append(number_of(message.body))
        channel.send(Basic.Ack(delivery_tag=message.method.delivery_tag))
    channel.call(Basic.Cancel(consumer_tag=tag))
    return numbers


@pytest.mark.parametrize("properties", [PERSISTENT, TRANSIENT], ids=["persistent", "transient"])
@pytest.mark.parametrize("durable", [True, False])
def test_everything_comes_in_order(channel: RawChannel, durable: bool, properties: Basic.Properties) -> None:
    channel.declare_queue("q", durable=durable)
    fill(channel, "q", properties=properties)
    assert take_all(channel, "q") == list(range(COUNT))
    assert channel.counts("q")[0] == 0


def test_a_queue_that_is_not_durable_reads_its_own_copies(channel: RawChannel) -> None:
    """The record of a message that a durable queue has too is not for it, nor is a share of it."""
    channel.declare_queue("durable", durable=True)
    channel.declare_queue("fleeting")
    for queue in ("durable", "fleeting"):
        channel.bind(queue, "amq.fanout")
    for number in range(COUNT):
        channel.publish(body_of(number), "", exchange="amq.fanout", properties=PERSISTENT)
    assert take_all(channel, "fleeting") == list(range(COUNT))
    assert take_all(channel, "durable") == list(range(COUNT))


def test_automatic_acknowledgement_and_publishing_at_once(channel: RawChannel) -> None:
    channel.declare_queue("q", durable=True)
    fill(channel, "q")
    channel.consume("q", no_ack=True)
    for number in range(COUNT, COUNT + 500):
        channel.publish(body_of(number), "q", properties=PERSISTENT)
    assert [number_of(body) for body in channel.deliver_many(COUNT + 500)] == list(range(COUNT + 500))


def test_gets_on_several_channels_are_answered_in_order(broker: BrokerProcess, channel: RawChannel) -> None:
    channel.declare_queue("q", durable=True)
    fill(channel, "q")
    others = [channel, *(channel.client.channel(number) for number in (2, 3))]
    for _ in range(COUNT // 3 + 20):
        for other in others:
            other.send(Basic.Get(queue="q", no_ack=True))
            other.send(Queue.Declare(queue="q", passive=True))
    got: list[int] = []
    for other in others:
        mine = []
        for _ in range(COUNT // 3 + 20):
            answer = other.client.receive(other.number)
            if isinstance(answer.method, Basic.GetOk):
                other.client.receive(other.number)
                mine.append(number_of(other.client.receive(other.number).payload))
            else:
                assert isinstance(answer.method, Basic.GetEmpty)
            assert isinstance(other.client.receive(other.number).method, Queue.DeclareOk)
        assert mine == sorted(mine)
        got += mine
    assert sorted(got) == list(range(COUNT))


def test_what_is_requeued_is_again_in_its_place(channel: RawChannel) -> None:
    channel.declare_queue("q", durable=True)
    fill(channel, "q")
    take_and_give_back(channel, "q", 1000)
    assert take_all(channel, "q") == list(range(COUNT))


def test_priorities(channel: RawChannel) -> None:
    channel.declare_queue("q", durable=True, arguments={"x-max-priority": 2})
    for number in range(COUNT):
        channel.publish(body_of(number), "q", properties=Basic.Properties(delivery_mode=2, priority=number % 3))
    expected = sorted(range(COUNT), key=lambda number: (-(number % 3), number))
    assert take_all(channel, "q") == expected


def test_messages_expire_without_being_read(broker: BrokerProcess, channel: RawChannel) -> None:
    channel.declare_queue("q", durable=True, arguments={"x-message-ttl": 1000})
    fill(channel, "q")
    until(lambda: channel.counts("q")[0] == 0)


def test_expired_messages_go_to_the_dead_letters(channel: RawChannel) -> None:
    channel.declare_queue("dead", durable=True)
    arguments = {"x-message-ttl": 1000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.declare_queue("q", durable=True, arguments=arguments)
    fill(channel, "q")
    until(lambda: channel.counts("dead")[0] == COUNT)
    assert take_all(channel, "dead") == list(range(COUNT))


def test_what_is_too_much_goes_to_the_dead_letters(channel: RawChannel) -> None:
    channel.declare_queue("dead", durable=True)
    arguments = {"x-max-length": 1000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.declare_queue("q", durable=True, arguments=arguments)
    fill(channel, "q")
    until(lambda: channel.counts("dead")[0] == COUNT - 1000)
    assert take_all(channel, "dead", COUNT - 1000) == list(range(COUNT - 1000))
    assert take_all(channel, "q", 1000) == list(range(COUNT - 1000, COUNT))


def test_delayed_messages(channel: RawChannel) -> None:
    channel.declare_queue("q", durable=True, arguments={"x-delayed": True})
    for number in range(COUNT):
        properties = Basic.Properties(delivery_mode=2, headers={"x-delay": 1500})
        channel.publish(body_of(number), "q", properties=properties)
    assert sorted(take_all(channel, "q")) == list(range(COUNT))


def test_purge_counts_what_is_paged_out_and_holds(broker: BrokerProcess, channel: RawChannel) -> None:
    channel.declare_queue("q", durable=True)
    channel.call(Confirm.Select())
    for number in range(COUNT):
        channel.publish(body_of(number), "q", properties=PERSISTENT)
    confirmed = 0
    while confirmed < COUNT:
        confirmed = channel.expect(Basic.Ack).delivery_tag
    assert channel.call(Queue.Purge(queue="q")).message_count == COUNT
    broker.kill()
    broker.start()
    with RawClient(broker.address) as client:
        assert client.open().channel(1).counts("q")[0] == 0


def test_after_a_crash_what_was_persistent_is_there(broker: BrokerProcess, channel: RawChannel) -> None:
    channel.declare_queue("q", durable=True)
    channel.call(Confirm.Select())
    for number in range(COUNT):
        channel.publish(body_of(number), "q", properties=PERSISTENT if number % 2 else TRANSIENT)
    confirmed = 0
    while confirmed < COUNT:
        confirmed = channel.expect(Basic.Ack).delivery_tag
    broker.kill()
    broker.start()
    with RawClient(broker.address) as client:
        again = client.open().channel(1)
        assert again.counts("q")[0] == COUNT // 2
        assert take_all(again, "q", COUNT // 2) == list(range(1, COUNT, 2))


def flip(directory: Path, body: bytes) -> tuple[Path, int]:
    """Damage the record of a message on disk; return its file, and where its body is."""
    for path in sorted(directory.rglob("segment-*")):
        data = path.read_bytes()
        at = data.find(body)
        if at >= 0:
            with path.open("r+b") as file:
                file.seek(at + 100)
                file.write(bytes([data[at + 100] ^ 1]))
            return path, at
    raise AssertionError("no segment has the message")


@pytest.mark.parametrize("properties", [PERSISTENT, TRANSIENT], ids=["persistent", "transient"])
def test_a_damaged_record_costs_one_message(
    broker: BrokerProcess, channel: RawChannel, properties: Basic.Properties
) -> None:
    channel.declare_queue("q", durable=True)
    fill(channel, "q", properties=properties)
    damaged = 2000
    until(lambda: any(body_of(damaged) in path.read_bytes() for path in broker.data_directory.rglob("segment-*")))
    until(lambda: metric(broker, "rabbitmq_queue_messages_paged_out") > COUNT / 2)
    path, at = flip(broker.data_directory, body_of(damaged))
    expected = [number for number in range(COUNT) if number != damaged]
    assert take_all(channel, "q", COUNT - 1) == expected
    assert channel.counts("q")[0] == 0
    assert metric(broker, "haypile_messages_quarantined_total") == 1
    broker.stop()
    line = next(line for line in broker.log if "message quarantined" in line)
    assert path.name in line
    offset = int(re.findall(r"\boffset\D+(\d+)", line)[0])
    assert at - 200 < offset <= at - 32


def test_with_tracing_on(start_broker: StartBroker) -> None:
    broker = start_broker({**SETTINGS, "tracing": "/"})
    with RawClient(broker.address) as client:
        channel = client.open().channel(1)
        channel.declare_queue("q", durable=True)
        channel.declare_queue("trace")
        channel.bind("trace", "amq.rabbitmq.trace", "#")
        fill(channel, "q")
        assert take_all(channel, "q") == list(range(COUNT))
        until(lambda: channel.counts("trace")[0] == 2 * COUNT)
        assert len(channel.bodies("trace")) == 2 * COUNT


def test_single_active_consumer_and_deliveries_that_are_counted(channel: RawChannel) -> None:
    arguments = {"x-single-active-consumer": True, "x-delivery-limit": 3}
    channel.declare_queue("q", durable=True, arguments=arguments)
    fill(channel, "q")
    take_and_give_back(channel, "q", 500)
    channel.call(Basic.Qos(prefetch_count=100))
    channel.consume("q")
    for number in range(COUNT):
        message = channel.deliver()
        assert number_of(message.body) == number
        counted = (message.properties.headers or {}).get("x-delivery-count", 0)
        assert counted == (1 if number < 500 else 0)
        channel.send(Basic.Ack(delivery_tag=message.method.delivery_tag))


def test_many_small_queues_are_paged_out_too(broker: BrokerProcess, channel: RawChannel) -> None:
    queues = [channel.declare_queue(f"q{number}", durable=True) for number in range(300)]
    fill(channel, *queues, count=10)
    until(lambda: metric(broker, "rabbitmq_queue_messages_paged_out") > len(queues) * 10 / 2)
    for queue in queues:
        assert [number_of(body) for body in channel.bodies(queue)] == list(range(10))
