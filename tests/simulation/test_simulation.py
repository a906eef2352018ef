"""Some hundred seeds of each simulation, and sweeps.

HAYPILE_TEST_SEED begins elsewhere, HAYPILE_TEST_SEEDS runs more of them; ``make simulate SEEDS=100000`` runs them
without pytest, in several processes.
"""

import errno
import os

import pytest

from broker.durability.queue_log import RECORD_KINDS
from tests.simulation.broker_damage import INDEX_KEPT
from tests.simulation.broker_run import BrokerRun
from tests.simulation.disk import Faults
from tests.simulation.journal_run import JournalRun
from tests.simulation.seeds import RUNS, how_to_replay, run_seed
from tests.simulation.weather import Weather

SEED = int(os.environ.get("HAYPILE_TEST_SEED", "0"))
SEEDS = {
    "journal": int(os.environ.get("HAYPILE_TEST_SEEDS", "400")),
    "broker": int(os.environ.get("HAYPILE_TEST_SEEDS", "200")),
}
PARTS = 4
STEPS = 150
STEPS_AFTERWARDS = 20
OPERATIONS_MIN = 60
SWEPT = (1, 2, 3)
TORN = 4
COMPACTED = (95, 300)
MOVED = (RECORD_KINDS["moved"], RECORD_KINDS["moved_timed"])
MOVED_MIN = 10


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("what", sorted(RUNS))
def test_seeds(what, part):
    print(f"HAYPILE_TEST_SEED={SEED}")
    for seed in range(SEED + part, SEED + SEEDS[what], PARTS):
        outcome = run_seed((what, seed))
        assert not outcome.problem, f"{outcome.problem}; {how_to_replay(what, seed)}"


@pytest.mark.parametrize("what", sorted(RUNS))
def test_a_seed_replays_exactly(what):
    for seed in range(10):
        first, second = RUNS[what](seed), RUNS[what](seed)
        first.run()
        second.run()
        assert list(first.trace.lines) == list(second.trace.lines)
        assert first.trace.checksum == second.trace.checksum


class OneFault(JournalRun):
    """A life on a disk with one fault, and another life that sees what is left."""

    def __init__(self, seed, faults=None):
        super().__init__(seed, Weather(), lives=2)
        self.given = faults or Faults()
        self.eagerness = 0.4
        self.operation_count = 0

    def faults(self):
        return self.given

    def work(self, steps):
        # The fault is in the first life; what is left of it shows in the second one, and at its end.
        super().work(STEPS_AFTERWARDS if self.operation_count else STEPS)
        self.operation_count = self.operation_count or self.disk.operation_count


def operations_of(seed):
    """Return how many operations the first life of a seed has, and the sizes of those that write, by their numbers."""
    run = OneFault(seed)
    run.run()
    return run.operation_count, run.disk.write_sizes


@pytest.mark.parametrize("seed", SWEPT)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_each_operation_fails_once(error, seed):
    print(f"seed {seed}")
    count, _ = operations_of(seed)
    assert count > OPERATIONS_MIN
    for number in range(1, count + 1):
        run = OneFault(seed, Faults({number: error}))
        run.run()
        # Reading needs no room.
        assert run.disk.error_count == 1 or error == errno.ENOSPC


@pytest.mark.parametrize("seed", SWEPT)
def test_the_power_goes_at_each_operation(seed):
    print(f"seed {seed}")
    count, _ = operations_of(seed)
    assert count > OPERATIONS_MIN
    for number in range(1, count + 1):
        OneFault(seed, Faults(power_off_at=number)).run()


def test_a_write_is_torn_at_each_byte():
    print(f"seed {TORN}")
    _, sizes = operations_of(TORN)
    batches = [number for number, size in sizes.items() if 100 < size < 700][:3]
    assert len(batches) == 3
    for number in batches:
        for size in range(sizes[number] + 1):
            OneFault(TORN, Faults(power_off_at=number, torn_at=size)).run()


class OneRecordDamaged(BrokerRun):
    """Lives of a broker, and one that finds one record damaged, in a segment with an index or without."""

    def __init__(self, seed, has_index):
        super().__init__(seed, Weather(rots=True))
        self.number = 0
        self.has_index = has_index
        self.record_count = 0
        self.struck_kind = None

    def strike(self, damage):
        places = damage.places()
        self.record_count = len(places)
        if self.number < len(places):
            path, record = places[self.number]
            fate = INDEX_KEPT if self.has_index else 0.0
            if damage.strike_at(path, record, self.chance, self.trace.note, fate):
                self.struck_kind = record.kind


@pytest.mark.parametrize("seed", COMPACTED)
@pytest.mark.parametrize("has_index", [True, False], ids=["index", "no index"])
def test_each_record_is_damaged_once(has_index, seed):
    print(f"seed {seed}")
    lived = OneRecordDamaged(seed, has_index)
    lived.run_lives()
    kinds = []
    number = 0
    while True:
        run = lived.copied()
        run.number = number
        run.run_end()
        kinds.append(run.struck_kind)
        number += 1
        if number >= run.record_count:
            break
    # Of many messages only the record is left to which compaction has moved them.
    assert sum(kind in MOVED for kind in kinds) >= MOVED_MIN
    assert RECORD_KINDS["settle"] in kinds
