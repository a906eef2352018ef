"""SIGKILL at random moments under a mixed load, again and again on the same data directory, and amid recoveries too.

Confirmed messages are there, once and in order; what was acknowledged for sure does not come back, nor does what has
expired; a fan-out and a transaction are there as a whole or not at all; dead letters are in exactly one place; queues
and bindings are as it was answered. The seed is printed; HAYPILE_TEST_CRASH_ROUNDS sets the number of kills.
"""

import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
from pamqp.commands import Confirm, Exchange

from tests.conftest import StartBroker
from tests.crash.checks import existing, make_sure, routed, take_all
from tests.crash.load import (
    MARKER_QUEUE,
    TEMPORARY_QUEUES,
    Consumer,
    Definer,
    Habits,
    Load,
    Mover,
    Publisher,
    number_of,
    properties_with,
)
from tests.support.broker_process import BrokerProcess
from tests.support.checker import QueueModel
from tests.support.raw_client import Message, RawChannel, RawClient

ROUNDS = int(os.environ.get("HAYPILE_TEST_CRASH_ROUNDS", "8"))
PARTS = 2
"""So many brokers are killed in turn, each by a test of its own, so that two cores have something to do."""

SEGMENT_SIZE_BYTES = 1 << 20
MESSAGE_MEMORY_BYTES = (0, 10_000, 300_000)
"""What messages may take in memory; 0 is the default. Each life has one of these: with little, nearly all is paged out,
read ahead and, when its segment is in the way, moved."""

LOOK_PROBABILITY = 0.4
"""In how many lives it is seen what the storage does, which makes them a little longer."""

PLAIN_QUEUES = ("plain-0", "plain-1")
FANOUT_QUEUES = ("fan-0", "fan-1", "fan-2")
MOVE_QUEUES = ("move-from", "move-to-0", "move-to-1")
CHAIN = ("chain-0", "chain-1", "chain-2")
EXPIRING_QUEUE = "expiring"
IDLE_QUEUES = [f"idle-{index}" for index in range(300)]
"""Only there to be in the checkpoints, which have several slices so."""

MESSAGE_TTL_MS = 80
MAX_LENGTH = 40
LOAD_MIN_S, LOAD_MAX_S = 0.05, 0.4
RECOVERY_KILL_PROBABILITY = 0.3
RECOVERY_MIN_S, RECOVERY_MAX_S = 0.1, 0.5
DRAIN_PROBABILITY = 0.35
QUIET_COUNT = 3
CLIENT_TIMEOUT_S = 20.0
REASONS = {"expired", "rejected", "maxlen", "delivery_limit"}
REASONS_ROUNDS_MIN = 8
"""After so many rounds the load must have reached every way out of a queue."""

PAGING_ROUNDS_MIN = 20
"""After so many, paging, moving of messages and indexes must have been seen."""

pytestmark = [pytest.mark.crash, pytest.mark.timeout(60 + 10 * ROUNDS)]


@dataclass
class World:
    """What was promised about everything, over all lives of one broker."""

    broker: BrokerProcess
    random: random.Random
    models: dict[str, QueueModel]
    expiring: QueueModel = field(default_factory=QueueModel)
    moving: QueueModel = field(default_factory=QueueModel)
    moved: set[int] = field(default_factory=set)
    chain: QueueModel = field(default_factory=QueueModel)
    temporary: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    message_count: int = 0
    paging_lives: int = 0
    paged_max: float = 0
    compacted_bytes: float = 0
    index_count: int = 0

    def loads(self) -> list[Load]:
        """Everything that goes on at the same time."""
        address, seed = self.broker.address, self.random.random
        models = self.models
        fan = [models[queue] for queue in FANOUT_QUEUES]
        requeues = Habits(requeue=0.05, die=0.01)
        return [
            *[Publisher(address, seed(), "", queue, [models[queue]]) for queue in PLAIN_QUEUES],
            Publisher(address, seed(), "fan", "", fan),
            Publisher(address, seed(), "", EXPIRING_QUEUE, [self.expiring], properties_with(str(MESSAGE_TTL_MS))),
            Publisher(address, seed(), "", MOVE_QUEUES[0], [self.moving]),
            Publisher(address, seed(), "", CHAIN[0], [self.chain]),
            Consumer(address, seed(), PLAIN_QUEUES[0], models[PLAIN_QUEUES[0]], requeues),
            Consumer(address, seed(), FANOUT_QUEUES[2], models[FANOUT_QUEUES[2]], requeues),
            Consumer(address, seed(), CHAIN[0], self.chain, Habits(requeue=0.3, reject=0.6, die=0.01)),
            Consumer(address, seed(), CHAIN[1], self.chain, Habits(requeue=0.05, reject=0.85, die=0.01)),
            Mover(address, seed(), MOVE_QUEUES[0], (MOVE_QUEUES[1], MOVE_QUEUES[2])),
            Definer(address, seed(), self.temporary),
        ]

    def live(self) -> None:
        """Load the broker, and kill it."""
        loads = self.loads()
        for load in loads:
            load.start()
        looks = self.random.random() < LOOK_PROBABILITY
        killer = threading.Timer(self.random.uniform(LOAD_MIN_S, LOAD_MAX_S), self.end_life, (looks,))
        killer.start()
        for thread in (killer, *loads):
            thread.join()
        self.index_count = max(self.index_count, len(list(self.broker.data_directory.rglob("*.index"))))
        for load in loads:
            assert load.failure is None, load.failure
            if isinstance(load, Mover):
                self.moved |= load.moved
            if isinstance(load, Definer):
                self.unsure = load.unsure
        self.message_count += sum(len(model.published) for model in (*self.models.values(), self.chain, self.moving))

    def end_life(self, looks: bool) -> None:
        """Kill the broker, perhaps after a look at what its storage does."""
        try:
            if looks:
                paged_out = self.broker.metric("rabbitmq_queue_messages_paged_out")
                self.paging_lives += paged_out > 0
                self.paged_max = max(self.paged_max, paged_out)
                self.compacted_bytes += self.broker.metric("haypile_journal_compacted_bytes_total")
        finally:
            self.broker.kill()

    def restart(self) -> None:
        """Start the broker again, perhaps after a kill or two amid its recovery."""
        self.broker.settings["message-memory-bytes"] = str(self.random.choice(MESSAGE_MEMORY_BYTES))
        while self.random.random() < RECOVERY_KILL_PROBABILITY:
            self.broker.start_and_kill(self.random.uniform(RECOVERY_MIN_S, RECOVERY_MAX_S))
        self.broker.start()

    def check(self) -> None:
        """Look at everything."""
        with RawClient(self.broker.address, CLIENT_TIMEOUT_S) as client:
            channel = client.open().channel(1)
            channel.call(Confirm.Select())
            assert channel.get(EXPIRING_QUEUE, no_ack=False) is None, "a message that has expired is back"
            self.expiring.accept([])
            self._check_queues(client, channel)
            self._check_moved(client, channel)
            self._check_temporary(client, channel)
            if self.random.random() < DRAIN_PROBABILITY:
                self._check_chain(client, channel)

    def _check_queues(self, client: RawClient, channel: RawChannel) -> None:
        drain = self.random.random() < DRAIN_PROBABILITY
        found = {queue: take_all(client, queue, drain=drain) for queue in self.models}
        for queue, model in self.models.items():
            assert model.problems(found[queue]) == {}, queue
            model.accept(found[queue])
        never_consumed = [found[queue] for queue in FANOUT_QUEUES[:2]]
        assert never_consumed[0] == never_consumed[1], "a torn fan-out"
        if drain:
            make_sure(channel)
            for model in self.models.values():
                model.drained()

    def _check_moved(self, client: RawClient, channel: RawChannel) -> None:
        drain = self.random.random() < DRAIN_PROBABILITY
        source, *targets = [take_all(client, queue, drain=drain) for queue in MOVE_QUEUES]
        assert source == sorted(source), "reordered"
        assert Counter(targets[0]) == Counter(targets[1]), "a torn transaction"
        assert self.moving.problems([*source, *targets[0]], ordered=False) == {}
        assert self.moved <= set(targets[0]), "a lost transaction"
        self.moving.accept([*source, *targets[0]])
        if drain:
            make_sure(channel)
            self.moving.drained()
            self.moved.clear()

    def _check_temporary(self, client: RawClient, channel: RawChannel) -> None:
        there = existing(client, TEMPORARY_QUEUES)
        for name in set(TEMPORARY_QUEUES) - self.unsure:
            assert (name in there) == (name in self.temporary), f"{name} was promised to be as it is not"
            assert routed(channel, name) == (name in there), f"the binding of {name} is not as it was"
        self.temporary.clear()
        # A queue without its binding, because the kill came between the two, is bound the next time it is declared.
        self.temporary |= there
        for name in self.unsure & there:
            channel.bind(name, "temporary", name)

    def _check_chain(self, client: RawClient, channel: RawChannel) -> None:
        """Take everything out at the end of the chain; what is in the first two queues expires."""
        found: list[int] = []

        def take(message: Message) -> None:
            found.append(number_of(message.body))
            self.reasons.update(death["reason"] for death in message.properties.headers["x-death"])

        end = client.channel(2)
        end.consume(CHAIN[-1], no_ack=True)
        quiet_count = 0
        # Between two queues a message is in neither, but for no longer than a turn of the event loop.
        while quiet_count < QUIET_COUNT:
            before = len(found)
            end.expect_silence_or(take)
            left = sum(channel.counts(queue)[0] for queue in CHAIN)
            quiet_count = 0 if left or len(found) > before else quiet_count + 1
        end.close()
        assert self.chain.problems(found, ordered=False) == {}, "dead letters"
        self.chain.accept(found)
        make_sure(channel)
        self.chain.drained()


def declare(channel: RawChannel) -> None:
    """Make everything that the load needs."""
    for queue in (*PLAIN_QUEUES, *FANOUT_QUEUES, *MOVE_QUEUES, EXPIRING_QUEUE, MARKER_QUEUE, *IDLE_QUEUES):
        channel.declare_queue(queue, durable=True)
    channel.call(Exchange.Declare(exchange="fan", exchange_type="fanout", durable=True))
    channel.call(Exchange.Declare(exchange="temporary", exchange_type="direct", durable=True))
    for queue in FANOUT_QUEUES:
        channel.bind(queue, "fan")
    limits = (
        {"x-message-ttl": MESSAGE_TTL_MS, "x-max-length": MAX_LENGTH, "x-delivery-limit": 1},
        {"x-message-ttl": MESSAGE_TTL_MS},
        {},
    )
    for index, (queue, arguments) in enumerate(zip(CHAIN, limits, strict=True)):
        if index + 1 < len(CHAIN):
            arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": CHAIN[index + 1]}
        channel.declare_queue(queue, durable=True, arguments=arguments)


@pytest.mark.parametrize("part", range(PARTS))
def test_what_was_promised_holds_after_every_kill(start_broker: StartBroker, part: int) -> None:
    seed = int(os.environ.get("HAYPILE_TEST_CRASH_SEED", str(random.randrange(1 << 32)))) + part
    print(f"HAYPILE_TEST_CRASH_SEED={seed - part} (part {part})")
    broker = start_broker({"journal-segment-size-bytes": str(SEGMENT_SIZE_BYTES)})
    models = {queue: QueueModel() for queue in (*PLAIN_QUEUES, *FANOUT_QUEUES)}
    world = World(broker, random.Random(seed), models)
    with RawClient(broker.address) as client:
        declare(client.open().channel(1))
    begin = time.monotonic()
    rounds = ROUNDS * (part + 1) // PARTS - ROUNDS * part // PARTS
    for round_ in range(rounds):
        try:
            world.live()
            world.restart()
            world.check()
        except AssertionError as error:
            raise AssertionError(f"round {round_}, seed {seed - part}, part {part}: {error}") from error
    print(
        f"{rounds} kills, {world.message_count} messages, {time.monotonic() - begin:.0f} s; paging seen in "
        f"{world.paging_lives} lives, {world.paged_max:.0f} messages at most, {world.compacted_bytes:.0f} bytes moved, "
        f"{world.index_count} indexes at most"
    )
    assert world.reasons == REASONS or rounds < REASONS_ROUNDS_MIN
    assert (world.paged_max and world.compacted_bytes and world.index_count) or rounds < PAGING_ROUNDS_MIN
