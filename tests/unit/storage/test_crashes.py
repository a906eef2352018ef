"""The journal with an owner, on a disk that loses power at any of its operations.

The owner's state is a function of the units it appended. Whatever a crash leaves, recovery must give the state after
some unit, and none before the last one that was confirmed.
"""

import json
import random
from dataclasses import dataclass, field

import pytest

from storage.segment import Segment
from tests.unit.storage.simulated_disk import CommitDisk, SimulatedDisk
from tests.unit.storage.support import Owner, in_one_slice

MESSAGE, ACK, NAME = 1, 2, 128
SEED = 20_240_607
UNIT_COUNT = 14
STEPS = range(1, 360, 2)


@dataclass
class Model:
    """Messages that are alive, and a state that only checkpoints keep."""

    messages: dict[int, bytes] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    segments: dict[int, Segment] = field(default_factory=dict)

    def apply(self, kind: int, payload: bytes) -> None:
        if kind == NAME:
            self.names = [*self.names[-3:], payload.decode()]
        elif kind == ACK:
            self.messages.pop(int(payload), None)
        else:
            number, _, body = payload.partition(b":")
            self.messages[int(number)] = body

    def state(self) -> tuple[dict[int, bytes], list[str]]:
        return dict(self.messages), list(self.names)

    def snapshot(self) -> bytes:
        return json.dumps(self.names).encode()


class Run:
    """One life of a broker on a disk, going on from the model that the last one left."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.model = Model()
        self.owner = Owner(filesystem=disk, disk=CommitDisk(disk), snapshot=in_one_slice(self.model.snapshot))

    def recover(self) -> None:
        owner = self.owner
        owner.open()
        if owner.recovery.checkpoint is not None:
            self.model.names = json.loads(owner.recovery.checkpoint.payload)
        by_number = {segment.number: segment for segment in owner.recovery.segments}
        for kind, sequence, payload in owner.records:
            self.model.apply(kind, payload)
            if kind == MESSAGE:
                holder = next(s for s in by_number.values() if sequence <= s.last_sequence)
                self.model.segments[int(payload.partition(b":")[0])] = holder
        for number, segment in self.model.segments.items():
            if number in self.model.messages:
                owner.journal.retain(segment)

    def append_unit(self, chance: random.Random, next_message: int) -> None:
        journal = self.owner.journal
        records: list[tuple[int, bytes]] = []
        if chance.random() < 0.4:
            records.append((NAME, b"name %d" % next_message))
        for offset in range(chance.randrange(3)):
            records.append((MESSAGE, b"%d:" % (next_message + offset) + chance.randbytes(chance.randrange(1200))))
        acked = [number for number in self.model.messages if chance.random() < 0.6]
        records += [(ACK, b"%d" % number) for number in acked]
        if not records:
            records.append((NAME, b"nothing"))
        for index, (kind, payload) in enumerate(records):
            journal.append(kind, payload, index == len(records) - 1)
            if kind == MESSAGE:
                self.model.segments[int(payload.partition(b":")[0])] = journal.current
                journal.retain(journal.current)
        for number in acked:
            journal.release(self.model.segments.pop(number))
        for kind, payload in records:
            self.model.apply(kind, payload)

    def work(self, chance: random.Random, first_message: int) -> list[tuple[dict[int, bytes], list[str]]]:
        """Append units until the disk fails, and return the states from the last confirmed one on."""
        states = [self.model.state()]
        for index in range(UNIT_COUNT):
            self.append_unit(chance, first_message + 10 * index)
            states.append(self.model.state())
            if chance.random() < 0.7:
                self.owner.commit()
                if self.owner.journal.failed:
                    break
                del states[:-1]
        return states


@pytest.mark.parametrize("kill", [True, False], ids=["kill", "power"])
def test_crash_at_every_step(kill):
    print(f"seed {SEED}")
    for crash_at in STEPS:
        chance = random.Random(SEED + crash_at)
        disk = SimulatedDisk()
        possible = [({}, [])]
        for life in range(3):
            # The first life ends amid its work, the second amid its recovery or soon after it.
            disk.crash_at = crash_at if life == 0 else chance.randrange(1, 60) if life == 1 else None
            run = Run(disk)
            try:
                run.recover()
            except OSError:
                pass  # the repairs were interrupted: the possible states are what they were
            else:
                assert run.model.state() in possible, f"seed {SEED}, crash at {crash_at}, life {life}"
                possible = run.work(chance, 1000 * life)
                if disk.crash_at is None:
                    run.owner.journal.close()
                    possible = possible[-1:]
                else:
                    run.owner.journal.abandon()
            disk = SimulatedDisk(disk.files if kill else disk.after_power_loss(chance))
        run = Run(disk)
        run.recover()
        assert run.model.state() in possible
        assert run.owner.recovery.clean
        run.owner.journal.close()
