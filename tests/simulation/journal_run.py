"""A journal and its owner through several lives on a simulated machine."""

import json
import random
import select
from contextlib import suppress
from pathlib import Path

from storage.errors import JournalError, JournalFailed
from storage.journal import Journal
from storage.options import JournalOptions
from storage.recovery import Recovery
from storage.segment import Segment
from tests.simulation.disk import Faults, SimulatedDisk
from tests.simulation.journal_model import MESSAGE, NAME, SETTLED, JournalModel, State, Unit, message, settlement
from tests.simulation.machine import BEGINNING_MS, SimulatedMachine
from tests.simulation.trace import Trace
from tests.simulation.violation import Violation, demand
from tests.simulation.weather import Weather
from tests.unit.storage.support import in_one_slice

DIRECTORY = Path("/journal")
LIVES_MAX = 6
STEPS_MAX = 250
SEGMENT_SIZES = (4096, 4096, 8192, 16384, 65536)
BODY_SIZES = (0, 20, 200, 1000, 3000, 9000)


class JournalRun:
    """One seed. ``run`` raises ``Violation`` where a promise is not kept."""

    def __init__(self, seed: int, weather: Weather | None = None, lives: int = 0) -> None:
        self.chance = random.Random(f"journal {seed}")
        self.trace = Trace()
        self.weather = weather or Weather.of(self.chance)
        self.lives = lives or self.chance.randint(2, LIVES_MAX)
        self.disk = SimulatedDisk(random.Random(f"disk {seed}"))
        self.options = JournalOptions(
            self.chance.choice(SEGMENT_SIZES), self.chance.choice(SEGMENT_SIZES), self.chance.randrange(3)
        )
        self.eagerness = self.chance.choice([0.1, 0.3, 0.6])
        self.model = JournalModel()
        self.state = State()
        self.holders: dict[int, Segment] = {}
        self.next_number = 1
        self.time_ms = BEGINNING_MS
        self.flipped = False
        self.refused = False
        self.machine: SimulatedMachine
        self.journal: Journal

    def run(self) -> None:
        self.trace.note(f"{self.weather} {self.options}")
        for life in range(self.lives):
            last = life == self.lives - 1
            self.disk.faults = Faults() if last else self.faults()
            if not self.open():
                if self.refused:
                    return
                continue
            self.work(self.chance.randrange(STEPS_MAX))
            self.end(cleanly=last or self.chance.random() < 0.2)
        self.disk.faults = Faults()
        if self.open():
            self.close()

    def faults(self) -> Faults:
        return self.weather.faults(self.chance, self.disk.operation_count)

    # A life

    def open(self) -> bool:
        """Recover and open the journal. Returns whether that worked."""
        self.trace.note("start")
        self.machine = SimulatedMachine(self.disk, self.chance, self.trace.note, self.time_ms)
        self.state = State()
        self.holders.clear()
        found = []
        try:
            recovery = Recovery(DIRECTORY, self.disk)
            if recovery.checkpoint is not None:
                self.state.names = json.loads(recovery.checkpoint.payload)
            for kind, sequence, payload, segment in recovery.records():
                found.append((sequence, kind, payload))
                self.state.apply(kind, payload)
                if kind == MESSAGE:
                    self.holders[message_number(payload)] = segment
            self.trace.note(f"found {len(found)} up to {recovery.sequence} {list(map(str, recovery.repairs))}")
            self.model.on_recovered(recovery.sequence, found, self.state, damaged=self.flipped)
            self.journal = Journal(
                recovery,
                durable=self.on_durable,
                failed=self.on_failed,
                snapshot=in_one_slice(lambda: json.dumps(self.state.names).encode()),
                options=self.options,
                machine=self.machine,
            )
        except JournalError as error:
            self.trace.note(f"refused: {error}")
            if not self.flipped:
                raise Violation(f"a start is refused only where something is damaged: {error}") from error
            self.refused = True
            return False
        except OSError as error:
            self.trace.note(f"not started: {error}")
            demand(self.disk.is_off or self.disk.error_count > 0, f"nothing fails of itself: {error}")
            self.fall()
            return False
        self.model.on_opened()
        self.holders = {number: self.holders[number] for number in self.state.messages}
        for segment in self.holders.values():
            self.journal.retain(segment)
        return True

    def on_durable(self, batch: int) -> None:
        self.trace.note(f"durable {batch}")
        if not self.machine.crashed:
            self.model.on_durable(batch)

    def on_failed(self, error: JournalFailed) -> None:
        self.trace.note(f"failed {error}")
        demand(self.disk.is_off or self.disk.error_count > 0, f"a journal fails where the disk did: {error}")

    def work(self, steps: int) -> None:
        """Let the owner, the loop and the workers go on, in any order."""
        for _ in range(steps):
            if self.disk.is_off or self.journal.failed:
                return
            if self.chance.random() < self.eagerness:
                self.machine.step()
                self.machine.check()
            else:
                self.owner_step()
            self.machine.now_ms += self.chance.choice([0, 1, 5, 1000])

    def owner_step(self) -> None:
        fate = self.chance.random()
        if self.chance.random() < 0.05:
            self.trace.note("retry")
            self.journal.retry()
        if fate < 0.5:
            with suppress(JournalFailed):
                self.append_unit()
        elif fate < 0.75:
            self.journal.commit()
        else:
            self.look()

    def look(self) -> None:
        """Do what the event loop does when the journal has something to tell."""
        if is_readable(self.journal.completion_fd):
            self.journal.on_commit_finished()

    def append_unit(self) -> None:
        records: list[tuple[int, bytes]] = []
        if self.chance.random() < 0.3:
            records.append((NAME, b"%d" % self.number()))
        for _ in range(self.chance.randrange(4)):
            body = self.chance.randbytes(self.chance.randint(0, self.chance.choice(BODY_SIZES)))
            records.append((MESSAGE, message(self.number(), body)))
        settled = [number for number in self.state.messages if self.chance.random() < self.chance.choice([0.0, 0.5])]
        if settled or not records:
            records.append((SETTLED, settlement(self.number(), settled)))
        self.chance.shuffle(records)
        unit = Unit([], 0)
        for index, (kind, payload) in enumerate(records):
            sequence = self.journal.append(kind, payload, index == len(records) - 1)
            unit.records.append((sequence, kind, payload))
            if kind == MESSAGE:
                self.holders[message_number(payload)] = self.journal.current
                self.journal.retain(self.journal.current)
            self.state.apply(kind, payload)
        unit.batch = self.journal.open_batch
        self.model.units.append(unit)
        for number in settled:
            self.journal.release(self.holders.pop(number))
        self.trace.note(f"unit {len(self.model.units)} up to {unit.last}")

    def number(self) -> int:
        self.next_number += 1
        return self.next_number - 1

    # The end of a life

    def end(self, cleanly: bool) -> None:
        if cleanly and not self.disk.is_off and not self.journal.failed:
            self.close()
        else:
            self.fall()

    def close(self) -> None:
        self.trace.note("close")
        self.journal.close()
        self.machine.check()
        unfinished = self.disk.error_count > 0 and self.model.durable < len(self.model.units)
        if self.disk.is_off or self.journal.failed or unfinished:
            self.fall(closed=True)
            return
        self.model.on_closed()
        self.rest(power_lost=self.chance.random() < 0.5)

    def fall(self, closed: bool = False) -> None:
        """Lose the process, or the power; what was under way gets as far as it gets."""
        if not self.disk.is_off:
            self.disk.faults.power_off_at = self.disk.operation_count + self.chance.randrange(1, 12)
            for _ in range(self.chance.randrange(4)):
                self.machine.step()
        self.machine.crash()
        if not closed and hasattr(self, "journal"):
            self.journal.abandon()
        self.rest(power_lost=self.chance.random() < 0.6)

    def rest(self, power_lost: bool) -> None:
        """Be off for a while."""
        self.trace.note("power lost" if power_lost else "process gone")
        self.time_ms = self.machine.now_ms
        self.disk.restart(power_lost)
        if self.weather.rots and any(inode.seen for inode in self.disk.names.values()) and self.chance.random() < 0.5:
            self.trace.note(f"flipped {self.disk.flip_bit()}")
            self.flipped = True


def message_number(payload: bytes) -> int:
    return int.from_bytes(payload[:8], "little")


def is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
