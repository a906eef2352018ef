"""A checkpoint is encoded in slices, and the virtual host changes in between: replayed, both lead to what there is."""

import os
import random
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.durability import slices
from broker.durability.definitions import Bound, QueueDeleted, encode
from broker.durability.replay import Replay
from broker.durability.slices import snapshot_in_slices
from broker.durability.vhost_state import binding_definition, exchange_definition, is_durable, queue_definition
from broker.policy import validate_policy
from broker.queueing.queue import Queue
from broker.routing.exchange import Binding
from broker.vhost import VirtualHost
from storage.recovery import Recovery
from tests.support.bare_vhost import BareVirtualHost

SEEDS = range(int(os.environ.get("HAYPILE_TEST_SEED", "0")), int(os.environ.get("HAYPILE_TEST_SEED", "0")) + 40)
QUEUES = [f"q{index}" for index in range(6)]
EXCHANGES = [f"x{index}" for index in range(4)]
KEYS = ("a", "b")
STATE_KIND_MIN = 128
CHANGES_BETWEEN_SLICES_MAX = 12
PATIENCE_MS = 10_000
PURGE_PROBABILITY = 0.2


class Changes:
    """Makes changes of every kind, at random, to a few names that they all share."""

    def __init__(self, bare: BareVirtualHost, random_: random.Random) -> None:
        self.bare = bare
        self.random = random_
        self.kinds: list[Callable[[], Any]] = [
            self.declare_queue,
            self.declare_queue,
            self.delete_queue,
            self.declare_exchange,
            self.delete_exchange,
            self.bind,
            self.bind,
            self.unbind,
            self.put_policy,
            self.delete_policy,
            self.publish,
            self.publish,
            self.take,
        ]

    @property
    def vhost(self) -> VirtualHost:
        return self.bare.vhost

    def make(self, count: int) -> None:
        for _ in range(count):
            self.random.choice(self.kinds)()
            self.bare.run()

    def one_of(self, things: dict[str, Any], names: list[str]) -> Any:
        there = [things[name] for name in names if name in things]
        return self.random.choice(there) if there else None

    def declare_queue(self) -> None:
        name = self.random.choice(QUEUES)
        if name in self.vhost.queues:
            return
        arguments = self.random.choice(
            [{}, {"x-deduplication": True}, {"x-max-length": 5}, {"x-delivery-limit": 3, "x-é": "€"}]
        )
        self.vhost.declare_queue(
            name, durable=self.random.random() < 0.9, auto_delete=False, owner=None, arguments=arguments
        )

    def delete_queue(self) -> None:
        queue = self.one_of(self.vhost.queues, QUEUES)
        if queue is not None:
            self.vhost.delete_queue(queue)

    def declare_exchange(self) -> None:
        name = self.random.choice(EXCHANGES)
        if name in self.vhost.exchanges:
            return
        kind, arguments = self.random.choice(
            [
                ("direct", {}),
                ("fanout", {"x-deduplication": True}),
                ("topic", {"alternate-exchange": "amq.fanout"}),
                ("x-delayed-message", {"x-delayed-type": "direct"}),
            ]
        )
        self.vhost.declare_exchange(
            name,
            kind,
            durable=self.random.random() < 0.9,
            auto_delete=self.random.random() < 0.3,
            internal=False,
            arguments=arguments,
        )

    def delete_exchange(self) -> None:
        exchange = self.one_of(self.vhost.exchanges, EXCHANGES)
        if exchange is not None:
            self.vhost.delete_exchange(exchange)

    def binding(self) -> Binding | None:
        source = self.one_of(self.vhost.exchanges, [*EXCHANGES, "amq.topic"])
        if self.random.random() < 0.3:
            destination = self.one_of(self.vhost.exchanges, EXCHANGES)
        else:
            destination = self.one_of(self.vhost.queues, QUEUES)
        if source is None or destination is None:
            return None
        return Binding(source, destination, self.random.choice(KEYS), self.random.choice([{}, {"é": 1}]))

    def bind(self) -> None:
        if (binding := self.binding()) is not None:
            self.vhost.bind(binding)

    def unbind(self) -> None:
        if (binding := self.binding()) is not None:
            self.vhost.unbind(binding)

    def put_policy(self) -> None:
        policy = validate_policy(self.random.choice(KEYS), "^q1", {"max-length": self.random.randrange(1, 9)})
        self.vhost.put_policy(policy, operator=self.random.random() < 0.3)

    def delete_policy(self) -> None:
        self.vhost.delete_policy(self.random.choice(KEYS), operator=self.random.random() < 0.3)

    def publish(self) -> None:
        queue = self.one_of(self.vhost.queues, QUEUES)
        if queue is not None:
            self.bare.publish(queue.name, b"body", message_id=str(self.random.randrange(100)))

    def take(self) -> None:
        queue: Queue | None = self.one_of(self.vhost.queues, QUEUES)
        if queue is not None:
            for position, message, _ in queue.entries(0, 1):
                queue.remove(position)
                queue.forget(message, position)


def kept_by(vhost: VirtualHost) -> dict[str, Any]:
    """Everything of a virtual host that survives a restart, in an order of its own."""
    exchanges = vhost.exchanges.values()
    queues = [queue for queue in vhost.all_queues() if queue.log is not None]
    with_keys: list[tuple[Any, Any]] = [(queue.name, queue.deduplicator) for queue in queues]
    with_keys += [(exchange.name, exchange.deduplicator) for exchange in exchanges if exchange.durable]
    return {
        "exchanges": sorted(encode(exchange_definition(one)) for one in exchanges if one.durable and one.name),
        "queues": sorted(encode(queue_definition(queue)) for queue in queues),
        "bindings": sorted(
            encode(binding_definition(Bound, binding))
            for exchange in exchanges
            for binding in exchange.bindings
            if is_durable(binding)
        ),
        "policies": [[str(one) for one in vhost.policies.list(operator=operator)] for operator in (False, True)],
        "messages": sorted(
            (queue.name, position, redelivered)
            for queue in queues
            for position, _, redelivered in queue.entries(0, 1000)
        ),
        "seen": {name: list(known.items()) for name, known in with_keys if known is not None and len(known)},
    }


def replayed(directory: Path, snapshot: bytes | None, sequence: int) -> Replay:
    """What a start finds with a checkpoint, or without one."""
    replay = Replay()
    if snapshot is not None:
        replay.take_checkpoint(snapshot)
    recovery = Recovery(directory)
    replay.messages.take_records(
        [(*record, 0) for record in recovery.records() if record[0] < STATE_KIND_MIN or record[1] > sequence]
    )
    return replay


@pytest.mark.parametrize("seed", SEEDS)
def test_what_changes_between_slices_is_as_its_records_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random_ = random.Random(seed)
    monkeypatch.setattr(slices, "DEFINITIONS_PER_SLICE", random_.randint(1, 4))
    monkeypatch.setattr(slices, "KEYS_PER_RECORD", 2)
    bare = BareVirtualHost(tmp_path / "journal")
    changes = Changes(bare, random_)
    changes.make(80)
    bare.vhost.journal.write_settled()
    sequence = bare.vhost.journal.journal.sequence
    snapshot = snapshot_in_slices(bare.vhost)
    slice_count = 0
    while True:
        try:
            next(snapshot)
        except StopIteration as end:
            pieces = end.value
            break
        slice_count += 1
        changes.make(random_.randrange(CHANGES_BETWEEN_SLICES_MAX))
    changes.make(random_.randrange(CHANGES_BETWEEN_SLICES_MAX))
    assert slice_count > 1
    bare.close()
    with_snapshot = replayed(bare.directory, b"".join(pieces), sequence)
    from_the_beginning = replayed(bare.directory, None, 0)
    for part in ("exchanges", "bindings", "policies"):
        found, expected = getattr(with_snapshot, part), getattr(from_the_beginning, part)
        assert found == expected, part
    assert with_snapshot.next_queue_number == from_the_beginning.next_queue_number
    assert set(with_snapshot.queues) == set(from_the_beginning.queues)
    for number, queue in with_snapshot.queues.items():
        other = from_the_beginning.queues[number]
        assert (queue.next_position, queue.delivered_position) == (other.next_position, other.delivered_position)
        assert queue.positions() == other.positions()
        assert queue.returns == other.returns
        assert list(with_snapshot.seen.get(number, {}).items()) == list(from_the_beginning.seen.get(number, {}).items())


@pytest.mark.parametrize("seed", SEEDS[:10])
def test_a_virtual_host_comes_back_from_a_checkpoint_in_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(slices, "DEFINITIONS_PER_SLICE", 2)
    monkeypatch.setattr(slices, "KEYS_PER_RECORD", 2)
    bare = BareVirtualHost(tmp_path / "journal", segment_size=4096)
    changes = Changes(bare, random.Random(seed))
    poll = select.poll()
    for _ in range(3):
        journal = bare.vhost.journal.journal
        poll.register(journal.completion_fd, select.POLLIN)
        before = journal.checkpoint_sequence
        while journal.checkpoint_sequence == before:
            changes.make(3)
            # An old message would keep its segment, and with it all definitions behind it.
            for queue in list(bare.vhost.queues.values()):
                if changes.random.random() < PURGE_PROBABILITY:
                    queue.purge()
            # One slice at most: all of them have a turn of their own.
            if poll.poll(PATIENCE_MS if journal.in_flight_seconds else 0):
                journal.on_commit_finished()
        changes.make(20)
        poll.unregister(journal.completion_fd)
        bare.run()
        bare.vhost.journal.write_settled()
        expected = kept_by(bare.vhost)
        bare.restart()
        assert kept_by(bare.vhost) == expected
    bare.close()


def test_deleting_a_queue_again_and_again_takes_no_longer_with_many_bindings() -> None:
    """A replay finds the bindings that go with a queue without looking at all the others."""
    replay = Replay()
    lookups = 0

    class Counted(dict[Any, Any]):
        def __iter__(self) -> Any:
            nonlocal lookups
            lookups += len(self)
            return super().__iter__()

    replay.bindings = Counted()
    definitions: list[Any] = [Bound("amq.topic", f"q{number}", False, "key", b"") for number in range(200)]
    definitions += [QueueDeleted(f"q{number}", number) for number in range(100)]
    for definition in definitions:
        replay._define(definition)
    assert len(replay.bindings) == 100
    assert lookups == 0
