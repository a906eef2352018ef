"""SIGKILL at random moments while messages are dead-lettered along a chain of three durable queues.

A message leaves the first queue because it expires, is rejected or does not fit, and the second because it expires or
is rejected; nothing ever leaves the third but to its consumer. Whatever was confirmed is afterwards in exactly one
place, unless it was acknowledged. The seed is printed; HAYPILE_TEST_CRASH_ROUNDS sets the number of kills.
"""

import os
import random
import struct
import threading
from collections import Counter

import pytest
from pamqp.commands import Basic

from tests.conftest import StartBroker
from tests.crash.test_crash import DISCONNECTED, ROUNDS, Publisher
from tests.support.broker_process import BrokerProcess
from tests.support.checker import QueueModel
from tests.support.raw_client import Message, RawChannel, RawClient

CHAIN = ("chain-0", "chain-1", "chain-2")
MESSAGE_TTL_MS = 150
MAX_LENGTH = 100
LOAD_MIN_S, LOAD_MAX_S = 0.1, 0.8
ACK_PROBABILITY = 0.05
PREFETCH_COUNT = 50
QUIET_COUNT = 3

pytestmark = [pytest.mark.crash, pytest.mark.timeout(60 + 10 * ROUNDS)]


class Rejecter(threading.Thread):
    """Takes messages out of a queue and rejects most; some it requeues, acknowledges, or holds until the end."""

    def __init__(self, broker: BrokerProcess, queue: str, acked: set[int], seed: float) -> None:
        super().__init__(daemon=True)
        self.client = RawClient(broker.address, 5.0)
        self.queue, self.acked = queue, acked
        self.random = random.Random(seed)

    def run(self) -> None:
        try:
            with self.client as client:
                channel = client.open().channel(1)
                channel.call(Basic.Qos(prefetch_count=PREFETCH_COUNT))
                channel.consume(self.queue)
                while True:
                    message = channel.deliver()
                    tag = message.method.delivery_tag
                    chance = self.random.random()
                    if chance < ACK_PROBABILITY:
                        self.acked.add(number_of(message.body))
                        channel.send(Basic.Ack(delivery_tag=tag))
                    else:
                        channel.send(Basic.Nack(delivery_tag=tag, requeue=chance < 2 * ACK_PROBABILITY))
        except DISCONNECTED:
            return


def number_of(body: bytes) -> int:
    number: int = struct.unpack_from(">Q", body)[0]
    return number


def declare(channel: RawChannel) -> None:
    limits = ({"x-message-ttl": MESSAGE_TTL_MS, "x-max-length": MAX_LENGTH}, {"x-message-ttl": MESSAGE_TTL_MS}, {})
    for index, (queue, arguments) in enumerate(zip(CHAIN, limits, strict=True)):
        if index + 1 < len(CHAIN):
            arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": CHAIN[index + 1]}
        channel.declare_queue(queue, durable=True, arguments=arguments)


def drain(broker: BrokerProcess, reasons: set[str]) -> Counter[int]:
    """Take everything out: what is in the first two queues expires, so that all ends up in the last.

    Adds to ``reasons`` why messages died on their way.
    """
    found: Counter[int] = Counter()

    def take(message: Message) -> None:
        found[number_of(message.body)] += 1
        reasons.update(death["reason"] for death in message.properties.headers["x-death"])

    with RawClient(broker.address, 20.0) as client:
        channel = client.open().channel(1)
        channel.consume(CHAIN[-1], no_ack=True)
        quiet_count = 0
        # Between two queues a message is in neither, but for no longer than a turn of the event loop.
        while quiet_count < QUIET_COUNT:
            before = found.total()
            channel.expect_silence_or(take)
            left = sum(channel.counts(queue)[0] for queue in CHAIN)
            quiet_count = 0 if left or found.total() > before else quiet_count + 1
    return found


def test_dead_letters_are_in_exactly_one_place_after_every_kill(start_broker: StartBroker) -> None:
    seed = int(os.environ.get("HAYPILE_TEST_CRASH_SEED", str(random.randrange(1 << 32))))
    print(f"HAYPILE_TEST_CRASH_SEED={seed}")
    random_ = random.Random(seed)
    model = QueueModel()
    reasons: set[str] = set()
    broker = start_broker({"journal-segment-size-bytes": str(4 << 20)})
    with RawClient(broker.address) as client:
        declare(client.open().channel(1))
    for round_ in range(ROUNDS):
        acked: set[int] = set()
        publisher = Publisher(broker, "", CHAIN[0], [model], random_.random())
        rejecters = [Rejecter(broker, queue, acked, random_.random()) for queue in CHAIN[:2]]
        threads = [publisher, *rejecters]
        for thread in threads:
            thread.start()
        killer = threading.Timer(random_.uniform(LOAD_MIN_S, LOAD_MAX_S), broker.kill)
        killer.start()
        for thread in (killer, *threads):
            thread.join()
        broker.start()
        found = drain(broker, reasons)
        where = f"round {round_}, seed {seed}"
        lost = model.confirmed - acked - set(found)
        assert not lost, f"{len(lost)} lost, {where}: {sorted(lost)[:10]}"
        doubled = [number for number, count in found.items() if count > 1]
        assert not doubled, f"{len(doubled)} doubled, {where}: {sorted(doubled)[:10]}"
        assert set(found) <= model.published, where
        # All of it has been taken out, and nothing of it comes back.
        broker.terminate()
        broker.start()
        assert drain(broker, reasons) == Counter(), where
        model = QueueModel(settled={max(model.published)})
    assert reasons == {"expired", "rejected", "maxlen"}, "the load has to reach every way out of a queue"
