"""A virtual host that is compacted dies at each step of that: nothing is lost, doubled or back from the dead.

One journal is left with a little in each of its segments. From there on the same life is lived again and again, in
which its messages are moved while a client gets, settles, returns and publishes others, and each time it ends one
write, sync, renaming or removal later.
"""

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from pamqp.commands import Basic, Queue

from broker import clock
from storage.compactor import LIVING_RATIO_MAX, SEGMENTS_BEYOND
from storage.housekeeper import Housekeeper
from storage.options import JournalOptions
from tests.simulation.disk import Faults, SimulatedDisk
from tests.simulation.journal_run import is_readable
from tests.simulation.machine import BEGINNING_MS, Pace, SimulatedMachine
from tests.support.in_process import InProcessBroker
from tests.support.paged import read_back
from tests.support.raw_client import RawChannel

DIRECTORY = Path("/vhost")
SEGMENT_SIZE = 4096
MEMORY_BYTES = 3000
SEED = 7
PERSISTENT = b"\x10\x00\x02"
FAN_OUT = ("first", "second")
QUEUES = {
    "first": {},
    "second": {},
    "counted": {"x-queue-type": "quorum", "x-delivery-limit": 20},
    "timed": {"x-message-ttl": 1 << 30},
    "bulk": {},
    "passing": {},
}
SEGMENTS_FILLED = 16
PASSING_COUNT = 6
"""How many messages come and go for each that stays."""
BODY = bytes(150)
GO_ON_COUNT = 4
"""How much goes on between two things that the client does."""
CHANGES = ("write", "sync", "rename", "remove", "truncate", "allocate")


class LifeEnded(Exception):  # noqa: N818 - it was meant to
    """The disk has been switched off."""


class Hesitant(SimulatedMachine):
    """A machine on which nothing is compacted unless ``compacts`` says so."""

    compacts = True

    def can_step(self):
        actors = super().can_step()
        return actors if self.compacts else [actor for actor in actors if "compactor" not in getattr(actor, "name", "")]


@dataclass
class Known:
    """What is known of a message in a queue: since which record of the journal it is there, is not, and came back."""

    there_since: int = 0
    gone_since: int | None = None
    returned: list[int] = field(default_factory=list)


Messages = dict[str, dict[int, Known]]


class Stepwise(InProcessBroker):
    """A broker that goes on as far as it is told to, and ``changes``, the numbers of what it did to the disk."""

    def __init__(self, disk: SimulatedDisk, compacts: bool = True) -> None:
        self.disk = disk
        self.changes: list[int] = []
        simulated = Hesitant(disk, random.Random(SEED), self.note, BEGINNING_MS)
        simulated.pace = Pace()
        simulated.compacts = compacts
        self.simulated = simulated
        options = JournalOptions(SEGMENT_SIZE, SEGMENT_SIZE, 1)
        super().__init__(DIRECTORY, simulated, options, BEGINNING_MS, MEMORY_BYTES)

    def note(self, operation: str) -> None:
        if operation.startswith(CHANGES):
            self.changes.append(self.disk.operation_count + 1)

    @property
    def journal(self):
        return self.vhost.journal.journal

    def go_on(self) -> bool:
        """Let everybody do one thing. Returns whether there was anything to do."""
        progress = bool(self.loop.ready)
        self.turns()
        for descriptor, callback in list(self.loop.readers.items()):
            if is_readable(descriptor):
                callback()
                progress = True
        progress = self.simulated.step() or progress
        self.simulated.check()
        if self.disk.is_off:
            raise LifeEnded
        return progress

    def settle(self) -> None:
        """Let things go on until a client has an answer, or there is nothing to do."""
        while not any(client.transport.sent for client in self.clients) and self.go_on():
            pass

    def finish(self) -> None:
        """Let everything be done."""
        while self.go_on():
            pass

    def die(self) -> int:
        """Be gone. Returns up to which record the journal had said that it is on disk."""
        durable: int = self.journal.durable_sequence
        self.simulated.crash()
        self.crash()
        return durable

    def found(self) -> dict[str, dict[int, int]]:
        """Return for each queue the numbers of its messages, in order, and how often each has come back."""
        found = {}
        for name in QUEUES:
            queue = read_back(self.vhost, self.vhost.queues[name], self.simulated.disk)
            entries = queue.entries(0, 1000)
            numbers = [int(message.body.split()[0]) for _, message, _ in entries]
            assert numbers == sorted(set(numbers)), f"the messages of {name} are there once, and in order: {numbers}"
            counts = [queue.delivery_count(position) for position, _, _ in entries]
            found[name] = dict(zip(numbers, counts, strict=True))
        return found


class Client:
    """What one client does, and what it knows of the messages then."""

    def __init__(self, broker: Stepwise, messages: Messages) -> None:
        self.broker = broker
        self.messages = messages
        self.channel: RawChannel = broker.connect().channel()
        self.next_number = 1 + max((number for known in messages.values() for number in known), default=0)
        self.held: dict[str, list[tuple[int, int]]] = {name: [] for name in QUEUES}

    def publish(self, *queues: str) -> None:
        number, self.next_number = self.next_number, self.next_number + 1
        exchange, routing_key = ("amq.fanout", "") if len(queues) > 1 else ("", queues[0])
        self.channel.publish(b"%d " % number + BODY, routing_key, exchange, PERSISTENT)
        self.broker.turns()
        for queue in queues:
            self.messages[queue][number] = Known(there_since=self.broker.journal.sequence)

    def get(self, queue: str) -> None:
        message = self.channel.get(queue, no_ack=False)
        assert message is not None
        self.held[queue].append((int(message.body.split()[0]), message.method.delivery_tag))

    def ack(self, queue: str) -> None:
        number, tag = self.held[queue].pop(0)
        self.channel.send(Basic.Ack(tag))
        self.broker.turns()
        self.messages[queue][number].gone_since = self.broker.journal.sequence

    def nack(self, queue: str) -> None:
        number, tag = self.held[queue].pop()
        self.channel.send(Basic.Nack(tag, requeue=True))
        self.broker.turns()
        self.messages[queue][number].returned.append(self.broker.journal.sequence)

    def purge(self, queue: str) -> None:
        held = {number for number, _ in self.held[queue]}
        self.channel.send(Queue.Purge(queue=queue))
        self.broker.turns()
        for number, known in self.messages[queue].items():
            if number not in held and known.gone_since is None:
                known.gone_since = self.broker.journal.sequence
        self.channel.expect(Queue.PurgeOk)

    def act(self) -> None:
        """Do everything that may come amid a compaction."""
        actions: list[Callable[[], None]] = [
            *(partial(self.get, name) for name in ("first", "second", "counted", "timed", "bulk", "counted")),
            partial(self.ack, "first"),
            partial(self.purge, "bulk"),
            partial(self.nack, "counted"),
            partial(self.publish, *FAN_OUT),
            partial(self.ack, "timed"),
            partial(self.publish, "counted"),
            partial(self.nack, "second"),
            partial(self.get, "second"),
            partial(self.ack, "second"),
            partial(self.get, "first"),
            partial(self.ack, "counted"),
            partial(self.publish, "timed"),
            partial(self.nack, "first"),
            partial(self.ack, "bulk"),
            partial(self.purge, "timed"),
            partial(self.publish, *FAN_OUT),
        ]
        for action in actions:
            action()
            for _ in range(GO_ON_COUNT):
                self.broker.go_on()


def check(found: dict[str, dict[int, int]], messages: Messages, durable: int) -> None:
    """Hold what was found against what is known, of which everything up to the record ``durable`` was on disk."""
    for name, numbers in found.items():
        assert numbers.keys() <= messages[name].keys()
        for number, known in messages[name].items():
            if known.gone_since is None and known.there_since <= durable:
                assert number in numbers, f"message {number} of {name} is not lost"
            if known.gone_since is not None and known.gone_since <= durable:
                assert number not in numbers, f"message {number} of {name} stays away"
            if name == "counted" and number in numbers:
                count = sum(sequence <= durable for sequence in known.returned)
                assert count <= numbers[number] <= len(known.returned)


def live(disk: SimulatedDisk, messages: Messages) -> tuple[Stepwise | None, int]:
    """Live as long as the disk does. Returns the broker, None if it did not start, and what was on disk for sure."""
    try:
        broker = Stepwise(disk)
    except OSError:
        assert disk.is_off
        return None, 0
    try:
        Client(broker, messages).act()
        broker.finish()
    except LifeEnded:
        pass
    return broker, broker.die()


@dataclass
class Beginning:
    """A disk with a journal that is to be compacted, what is in its queues, and what a life does to it from there."""

    disk: SimulatedDisk
    messages: Messages
    changes: list[int] = field(default_factory=list)

    def copied(self) -> tuple[SimulatedDisk, Messages]:
        return copy.deepcopy(self.disk), copy.deepcopy(self.messages)


@pytest.fixture(autouse=True, scope="module")
def _time_goes_on() -> Iterator[None]:
    yield
    clock.stand_still(0)


@pytest.fixture(scope="module")
def beginning() -> Beginning:
    disk = SimulatedDisk(random.Random(SEED))
    broker = Stepwise(disk, compacts=False)
    messages: Messages = {name: {} for name in QUEUES}
    client = Client(broker, messages)
    for name, arguments in QUEUES.items():
        client.channel.declare_queue(name, durable=True, arguments=arguments)
    for name in FAN_OUT:
        client.channel.bind(name, "amq.fanout")
    kept = [FAN_OUT, ("counted",), ("timed",)]
    while broker.journal.current.number <= SEGMENTS_FILLED:
        # Of the second half everything is to go at once.
        is_old = 2 * broker.journal.current.number <= SEGMENTS_FILLED
        client.publish(*(kept[client.next_number % len(kept)] if is_old else ("bulk",)))
        for _ in range(PASSING_COUNT):
            client.publish("passing")
            client.get("passing")
            client.ack("passing")
    for _ in range(2):
        client.get("counted")
        client.nack("counted")
    broker.finish()
    assert broker.journal.compacted_bytes == 0
    broker.die()
    disk.restart(power_lost=True)
    disk.meanwhile = lambda _: None
    for known in messages.values():
        for message in known.values():
            message.there_since = 0
            message.gone_since = None if message.gone_since is None else 0
            message.returned = [0 for _ in message.returned]
    begun = Beginning(disk, messages)
    disk, messages = begun.copied()
    reference, durable = live(disk, messages)
    assert reference is not None
    journal = reference.journal
    assert journal.compacted_bytes > 0
    assert durable == journal.sequence
    assert journal.log_bytes <= LIVING_RATIO_MAX * journal.living_bytes + SEGMENTS_BEYOND * SEGMENT_SIZE
    begun.changes = reference.changes
    return begun


def die_at_each_step(begun: Beginning, power_lost: bool, step: int = 1) -> int:
    """Live once for each of the changes, and die there. Returns how many of those lives got as far as compaction."""
    compacted = 0
    for number in begun.changes[::step]:
        disk, messages = begun.copied()
        disk.faults = Faults(power_off_at=number)
        broker, durable = live(disk, messages)
        assert disk.is_off
        compacted += broker is not None and broker.journal.compacted_bytes > 0
        disk.restart(power_lost)
        disk.faults = Faults()
        broker = Stepwise(disk)
        found = broker.found()
        check(found, messages, durable)
        # And what the rest of the compaction, which begins anew, leaves of it.
        broker.finish()
        broker.die()
        disk.restart(power_lost)
        broker = Stepwise(disk, compacts=False)
        assert broker.found() == found
        broker.die()
    return compacted


@pytest.mark.parametrize("power_lost", [False, True], ids=["process", "power"])
def test_it_dies_at_each_step(beginning: Beginning, power_lost: bool) -> None:
    assert die_at_each_step(beginning, power_lost) > len(beginning.changes) // 2


@pytest.mark.parametrize("power_lost", [False, True], ids=["process", "power"])
def test_it_dies_at_each_step_amid_damage(beginning: Beginning, power_lost: bool) -> None:
    """The record of a message that nobody asks for is damaged. It costs that one, and the journal becomes as small."""
    disk, messages = beginning.copied()
    number = max(number for number, known in messages["counted"].items() if known.gone_since is None)
    damage(disk, number)
    del messages["counted"][number]
    begun = Beginning(disk, messages)
    disk, messages = begun.copied()
    reference, _ = live(disk, messages)
    assert reference is not None
    journal = reference.journal
    assert reference.counters.messages_quarantined == 1
    assert journal.log_bytes <= LIVING_RATIO_MAX * journal.living_bytes + SEGMENTS_BEYOND * SEGMENT_SIZE
    begun.changes = reference.changes
    assert die_at_each_step(begun, power_lost, step=4) > len(begun.changes) // 8


def damage(disk: SimulatedDisk, number: int) -> None:
    """Change a bit in the body of a message."""
    for name in disk.used_files():
        at = bytes(disk.names[name].seen).find(b"%d " % number + BODY)
        if at >= 0:
            disk.flip_bit(name, at + 20, 0)
            return
    raise AssertionError("no file has the message")


def test_it_would_be_seen_if_newer_files_went_before_older_ones(beginning: Beginning, monkeypatch) -> None:
    reclaim = Housekeeper.reclaim
    monkeypatch.setattr(Housekeeper, "reclaim", lambda self, numbers: reclaim(self, numbers[::-1]))
    with pytest.raises(AssertionError, match="stays away"):
        test_it_dies_at_each_step(beginning, power_lost=False)
