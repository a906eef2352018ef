"""SIGKILL at random moments under load, again and again on the same data directory.

Confirmed messages are there, once and in order; what was acknowledged for sure does not come back; a fan-out and a
transaction are there as a whole or not at all. The seed is printed; HAYPILE_TEST_CRASH_ROUNDS sets the number of kills.
"""

import os
import random
import struct
import threading
from collections import Counter

import pytest
from pamqp.commands import Basic, Confirm, Exchange, Tx

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.checker import QueueModel
from tests.support.raw_client import RawChannel, RawClient, content, frame, method_payload

ROUNDS = int(os.environ.get("HAYPILE_TEST_CRASH_ROUNDS", "6"))
QUEUES = ("crash-0", "crash-1", "crash-2")
FANOUT_QUEUES = ("fan-0", "fan-1", "fan-2")
TX_QUEUES = ("tx-0", "tx-1")
CONSUMED_QUEUES = ("crash-0", "crash-1", "fan-2")
MARKER_QUEUE = "marker"
MARKER_PROBABILITY = 0.02
TX_LENGTH = 5
WINDOW = 200
BODY_SIZES = (8, 100, 1000, 40_000)
LOAD_MIN_S, LOAD_MAX_S = 0.05, 0.8
PERSISTENT = b"\x10\x00\x02"  # property flags and delivery mode 2
DISCONNECTED = (OSError, AssertionError)

pytestmark = [pytest.mark.crash, pytest.mark.timeout(60 + 10 * ROUNDS)]


def body_of(number: int, random_: random.Random) -> bytes:
    return struct.pack(">Q", number) + bytes(random_.choice(BODY_SIZES))


def publish_frames(number: int, exchange: str, routing_key: str, random_: random.Random) -> bytes:
    method = method_payload(Basic.Publish(exchange=exchange, routing_key=routing_key))
    return frame(1, 1, method) + content(1, body_of(number, random_), PERSISTENT)


class Publisher(threading.Thread):
    """Publishes numbered messages with confirms until the broker dies, and keeps the model."""

    def __init__(
        self, broker: BrokerProcess, exchange: str, routing_key: str, models: list[QueueModel], seed: float
    ) -> None:
        super().__init__(daemon=True)
        self.client = RawClient(broker.address, 5.0)
        self.exchange, self.routing_key, self.models = exchange, routing_key, models
        self.random = random.Random(seed)
        self.next = max((max(model.published | model.settled, default=0) for model in models), default=0) + 1
        self.first = self.next

    def run(self) -> None:
        try:
            with self.client as client:
                channel = client.open().channel(1)
                channel.call(Confirm.Select())
                confirmed = self.first
                while True:
                    block = b""
                    while self.next < confirmed + WINDOW:
                        block += publish_frames(self.next, self.exchange, self.routing_key, self.random)
                        for model in self.models:
                            model.published.add(self.next)
                        self.next += 1
                    client.send_bytes(block)
                    ack = channel.expect(Basic.Ack)
                    last = self.first + ack.delivery_tag
                    for model in self.models:
                        model.confirmed.update(range(confirmed, last))
                    confirmed = last
        except DISCONNECTED:
            return


class Consumer(threading.Thread):
    """Acknowledges what it gets; a message published and confirmed after an acknowledgement proves it is on disk."""

    def __init__(self, broker: BrokerProcess, queue: str, model: QueueModel, seed: float) -> None:
        super().__init__(daemon=True)
        self.client = RawClient(broker.address, 5.0)
        self.queue, self.model = queue, model
        self.random = random.Random(seed)

    def run(self) -> None:
        try:
            with self.client as client:
                channel = client.open().channel(1)
                # What comes later on a connection is done later, whatever its channel.
                marker = client.channel(2)
                marker.call(Confirm.Select())
                channel.call(Basic.Qos(prefetch_count=50))
                channel.consume(self.queue)
                waiting: set[int] = set()
                while True:
                    message = channel.deliver()
                    number = struct.unpack_from(">Q", message.body)[0]
                    self.model.acked.add(number)
                    channel.send(Basic.Ack(delivery_tag=message.method.delivery_tag))
                    waiting.add(number)
                    if self.random.random() < MARKER_PROBABILITY:
                        marker.publish(b"", MARKER_QUEUE, properties=PERSISTENT)
                        marker.expect(Basic.Ack)
                        self.model.settled |= waiting
                        waiting = set()
        except DISCONNECTED:
            return


class Transactor(threading.Thread):
    """Commits transactions of several messages each, into two queues."""

    def __init__(self, broker: BrokerProcess, first: int) -> None:
        super().__init__(daemon=True)
        self.client = RawClient(broker.address, 5.0)
        self.next = first
        self.committed: set[int] = set()

    def run(self) -> None:
        try:
            with self.client as client:
                channel = client.open().channel(1)
                channel.call(Tx.Select())
                while True:
                    for index in range(TX_LENGTH):
                        queue = TX_QUEUES[index % len(TX_QUEUES)]
                        channel.publish(struct.pack(">Q", self.next), queue, properties=PERSISTENT)
                    channel.call(Tx.Commit())
                    self.committed.add(self.next)
                    self.next += 1
        except DISCONNECTED:
            return


def declare(channel: RawChannel) -> None:
    for queue in (*QUEUES, *FANOUT_QUEUES, *TX_QUEUES, MARKER_QUEUE):
        channel.declare_queue(queue, durable=True)
    channel.call(Exchange.Declare(exchange="fan", exchange_type="fanout", durable=True))
    for queue in FANOUT_QUEUES:
        channel.bind(queue, "fan")


def take_all(channel: RawChannel, queue: str) -> list[int]:
    """Read a queue without acknowledging; the closing of the channel puts everything back."""
    numbers = []
    while (message := channel.get(queue, no_ack=False)) is not None:
        numbers.append(struct.unpack_from(">Q", message.body)[0])
    return numbers


def test_what_was_promised_holds_after_every_kill(start_broker: StartBroker) -> None:
    seed = int(os.environ.get("HAYPILE_TEST_CRASH_SEED", str(random.randrange(1 << 32))))
    print(f"HAYPILE_TEST_CRASH_SEED={seed}")
    random_ = random.Random(seed)
    models = {queue: QueueModel() for queue in (*QUEUES, *FANOUT_QUEUES)}
    transactions: set[int] = set()
    transaction_next = 1
    broker = start_broker({"journal-segment-size-bytes": str(4 << 20)})
    with RawClient(broker.address) as client:
        declare(client.open().channel(1))
    for round_ in range(ROUNDS):
        publishers = [Publisher(broker, "", queue, [models[queue]], random_.random()) for queue in QUEUES]
        fan_models = [models[queue] for queue in FANOUT_QUEUES]
        publishers.append(Publisher(broker, "fan", "", fan_models, random_.random()))
        consumers = [Consumer(broker, queue, models[queue], random_.random()) for queue in CONSUMED_QUEUES]
        transactor = Transactor(broker, transaction_next)
        threads = [*publishers, *consumers, transactor]
        for thread in threads:
            thread.start()
        killer = threading.Timer(random_.uniform(LOAD_MIN_S, LOAD_MAX_S), broker.kill)
        killer.start()
        for thread in (killer, *threads):
            thread.join()
        broker.start()
        with RawClient(broker.address, 20.0) as client:
            channel = client.open().channel(1)
            found = {queue: take_all(channel, queue) for queue in models}
            for queue, model in models.items():
                assert model.problems(found[queue]) == {}, f"{queue}, round {round_}, seed {seed}"
                model.accept(found[queue])
            never_consumed = [set(found[queue]) for queue in FANOUT_QUEUES if queue not in CONSUMED_QUEUES]
            assert all(numbers == never_consumed[0] for numbers in never_consumed), f"round {round_}, seed {seed}"
            counts = Counter(number for queue in TX_QUEUES for number in take_all(channel, queue))
            assert set(counts.values()) <= {TX_LENGTH}, f"a torn transaction in round {round_}, seed {seed}"
            transactions |= transactor.committed
            assert transactions <= set(counts), f"a lost transaction in round {round_}, seed {seed}"
            transaction_next = max(counts, default=0) + 1
