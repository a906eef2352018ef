"""What loads the broker until it is killed: publishers, consumers, transactions and definitions that come and go.

Each is a thread with a connection of its own, and keeps the model of what was promised to it.
"""

import random
import struct
import threading
from collections import deque
from dataclasses import dataclass

from pamqp.commands import Basic, Confirm, Tx
from pamqp.commands import Queue as QueueMethods

from tests.support.checker import QueueModel
from tests.support.raw_client import Address, RawClient, content, frame, method_payload

MARKER_QUEUE = "marker"
MARKER_PROBABILITY = 0.02
PREFETCH_COUNT = 50
WINDOW = 60
BODY_SIZES = (8, 8, 100, 100, 1000, 20_000)
PERSISTENT = b"\x10\x00\x02"  # property flags and delivery mode 2
DISCONNECTED = (OSError, AssertionError)
ANSWER_TIMEOUT_S = 5.0
TEMPORARY_QUEUES = [f"temporary-{index}" for index in range(12)]


def number_of(body: bytes) -> int:
    """The number of a message."""
    number: int = struct.unpack_from(">Q", body)[0]
    return number


def properties_with(expiration: str) -> bytes:
    """The properties of a persistent message that expires."""
    return Basic.Properties(delivery_mode=2, expiration=expiration).marshal()


class Load(threading.Thread):
    """Something that goes on until the broker dies."""

    def __init__(self, address: Address, seed: float) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.random = random.Random(seed)
        self.failure: str | None = None

    def run(self) -> None:
        """Load the broker until it is gone."""
        try:
            while self.life():
                pass
        except DISCONNECTED:
            return

    def life(self) -> bool:
        """Do it on one connection; return whether to go on with another."""
        raise NotImplementedError

    def connect(self) -> RawClient:
        """Open a connection."""
        client = RawClient(self.address, ANSWER_TIMEOUT_S)
        try:
            return client.open()
        except DISCONNECTED:
            client.socket.close()
            raise


class Publisher(Load):
    """Publishes numbered messages with confirms; each of the models gets all of them."""

    def __init__(
        self,
        address: Address,
        seed: float,
        exchange: str,
        routing_key: str,
        models: list[QueueModel],
        properties: bytes = PERSISTENT,
    ) -> None:
        super().__init__(address, seed)
        self.method = method_payload(Basic.Publish(exchange=exchange, routing_key=routing_key))
        self.models = models
        self.properties = properties

    def life(self) -> bool:
        """Publish."""
        first = following = max(model.next_number for model in self.models)
        confirmed = first
        with self.connect() as client:
            channel = client.channel(1)
            channel.call(Confirm.Select())
            while True:
                block = b""
                while following < confirmed + WINDOW:
                    body = struct.pack(">Q", following) + bytes(self.random.choice(BODY_SIZES))
                    block += frame(1, 1, self.method) + content(1, body, self.properties)
                    for model in self.models:
                        model.publish(following)
                    following += 1
                client.send_bytes(block)
                last = first + channel.expect(Basic.Ack).delivery_tag
                for model in self.models:
                    model.confirmed.update(range(confirmed, last))
                confirmed = last


@dataclass(frozen=True)
class Habits:
    """What a consumer does with a message, as probabilities; the rest it acknowledges. And how often it dies."""

    requeue: float = 0.0
    reject: float = 0.0
    die: float = 0.0


class Consumer(Load):
    """Settles what it gets; what is published and confirmed after an acknowledgement proves that it is on disk."""

    def __init__(self, address: Address, seed: float, queue: str, model: QueueModel, habits: Habits) -> None:
        super().__init__(address, seed)
        self.queue, self.model, self.habits = queue, model, habits

    def life(self) -> bool:
        """Consume until the consumer dies with what it holds."""
        habits = self.habits
        acked: set[int] = set()
        waiting: set[int] = set()
        with self.connect() as client:
            channel = client.channel(1)
            # What comes later on a connection is done later, whatever its channel.
            marker = client.channel(2)
            marker.call(Confirm.Select())
            channel.call(Basic.Qos(prefetch_count=PREFETCH_COUNT))
            channel.consume(self.queue)
            while True:
                message = channel.deliver()
                number, tag = number_of(message.body), message.method.delivery_tag
                if number in acked:
                    self.failure = f"{self.queue}: {number} came again after its acknowledgement"
                    return False
                chance = self.random.random()
                if chance < habits.requeue:
                    channel.send(Basic.Nack(delivery_tag=tag, requeue=True))
                elif chance < habits.requeue + habits.reject:
                    channel.send(Basic.Nack(delivery_tag=tag, requeue=False))
                elif chance < habits.requeue + habits.reject + habits.die:
                    return True
                else:
                    self.model.acked.add(number)
                    acked.add(number)
                    waiting.add(number)
                    channel.send(Basic.Ack(delivery_tag=tag))
                if self.random.random() < MARKER_PROBABILITY:
                    marker.publish(b"", MARKER_QUEUE, properties=PERSISTENT)
                    marker.expect(Basic.Ack)
                    self.model.settled |= waiting
                    waiting = set()


class Mover(Load):
    """Takes messages out of one queue and puts each into two others, in transactions of several."""

    def __init__(self, address: Address, seed: float, source: str, targets: tuple[str, str]) -> None:
        super().__init__(address, seed)
        self.source, self.targets = source, targets
        self.moved: set[int] = set()

    def life(self) -> bool:
        """Move; some transactions are rolled back, and do nothing."""
        with self.connect() as client:
            channel = client.channel(1)
            channel.call(Basic.Qos(prefetch_count=10))
            channel.call(Tx.Select())
            channel.consume(self.source)
            while True:
                numbers = []
                for _ in range(self.random.randrange(1, 5)):
                    message = channel.deliver()
                    for target in self.targets:
                        channel.publish(message.body, target, properties=PERSISTENT)
                    channel.send(Basic.Ack(delivery_tag=message.method.delivery_tag))
                    numbers.append(number_of(message.body))
                if self.random.random() < 0.1:
                    channel.call(Tx.Rollback())
                    # Its deliveries are still with this channel: only its end gives them back.
                    return True
                channel.call(Tx.Commit())
                self.moved.update(numbers)


class Definer(Load):
    """Declares durable queues and deletes them again, and knows what was promised about each."""

    def __init__(self, address: Address, seed: float, there: set[str]) -> None:
        super().__init__(address, seed)
        self.there = there
        self.unsure: set[str] = set()

    def life(self) -> bool:
        """Declare and delete, several at a time."""
        with self.connect() as client:
            channel = client.channel(1)
            under_way: deque[tuple[str, int]] = deque()
            while True:
                name = self.random.choice(TEMPORARY_QUEUES)
                if name in self.unsure:
                    continue
                self.unsure.add(name)
                if name in self.there:
                    channel.send(QueueMethods.Delete(queue=name))
                    under_way.append((name, 1))
                else:
                    channel.send(QueueMethods.Declare(queue=name, durable=True))
                    channel.send(QueueMethods.Bind(queue=name, exchange="temporary", routing_key=name))
                    under_way.append((name, 2))
                while len(under_way) > len(TEMPORARY_QUEUES) // 2:
                    done, answer_count = under_way.popleft()
                    for _ in range(answer_count):
                        client.receive(1)
                    self.unsure.discard(done)
                    self.there ^= {done}
