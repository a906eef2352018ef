"""A journal and its owner through several lives on a simulated machine."""

import json
import random
import select
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from storage.checksum import crc32c
from storage.damage import QUARANTINE_NAME, UNREADABLE_SIZE, Damage
from storage.errors import JournalDamaged, JournalError, JournalFailed
from storage.fetcher import Fetch, FetchStatus
from storage.journal import Journal
from storage.layout import CHECKPOINT_PREFIX, SEGMENT_PREFIX, number_in, segment_path
from storage.options import JournalOptions
from storage.record import size_of
from storage.recovery import Recovery
from storage.replayer import Replayer
from storage.segment import UNIT_SIZE, Segment
from tests.simulation.disk import Faults, SimulatedDisk
from tests.simulation.journal_model import (
    COPY,
    MESSAGE,
    NAME,
    SETTLED,
    Discovery,
    JournalModel,
    Place,
    State,
    Unit,
    Written,
    message,
    number_of,
    settlement,
)
from tests.simulation.machine import BEGINNING_MS, SimulatedMachine
from tests.simulation.trace import Trace
from tests.simulation.violation import demand
from tests.simulation.weather import Weather
from tests.unit.storage.support import in_one_slice

DIRECTORY = Path("/journal")
LIVES_MAX = 6
STEPS_MAX = 250
SEGMENT_SIZES = (4096, 4096, 8192, 16384, 65536)
BODY_SIZES = (0, 20, 200, 1000, 3000, 9000)
COPIES_MAX = 20
FETCHED_MAX = 20
STOPPED_SIZE = size_of(0)


class Collector(Replayer):
    """Takes the records at a start: their summaries are the records themselves."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int, bytes, Segment]] = []

    def on_record(self, kind: int, sequence: int, summary: bytes, segment: Segment, offset: int) -> None:
        self.records.append((kind, sequence, summary, segment))


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
        self.replayer = Replayer() if self.chance.random() < 0.5 else None
        self.eagerness = self.chance.choice([0.1, 0.3, 0.6])
        self.model = JournalModel()
        self.state = State()
        self.holders: dict[int, Segment] = {}
        self.kept: dict[int, Written] = {}
        self.copies: dict[int, Segment] = {}
        self.fetch_count = 0
        self.next_number = 1
        self.time_ms = BEGINNING_MS
        self.spoiled: list[tuple[int, int]] = []
        self.checkpoint_spoiled = False
        self.errors_before = 0
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
        self.copies.clear()
        self.errors_before = self.disk.error_count
        self.disk.refused.clear()
        try:
            recovery = Recovery(DIRECTORY, self.disk)
            self.recover(recovery)
            damaged = [(damage, self.octets(damage)) for damage in recovery.damages if damage.size]
            self.journal = Journal(
                recovery,
                durable=self.on_durable,
                failed=self.on_failed,
                snapshot=in_one_slice(lambda: json.dumps(self.state.names).encode()),
                fetched=self.on_fetched,
                replayer=self.replayer,
                options=self.options,
                machine=self.machine,
            )
        except JournalError as error:
            self.trace.note(f"refused: {error}")
            demand(
                isinstance(error, JournalDamaged) and self.may_refuse(error),
                f"a start is refused only where a file is missing: {error}",
            )
            self.refused = True
            return False
        except OSError as error:
            self.trace.note(f"not started: {error}")
            demand(self.disk.is_off or self.disk.error_count > 0, f"nothing fails of itself: {error}")
            self.fall()
            return False
        for damage, octets in damaged:
            self.check_quarantine(damage, octets)
        self.model.on_opened()
        self.holders = {number: self.holders[number] for number in self.state.messages}
        for segment in self.holders.values():
            self.journal.retain(segment)
        self.kept = {
            number_of(record.payload): record
            for unit in self.model.units
            for record in unit.records
            if record.kind == MESSAGE
        }
        return True

    def may_refuse(self, error: JournalDamaged) -> bool:
        """Say whether a start may be refused, because of a checkpoint or of what the end of the log had said."""
        if error.case.startswith("CHECKPOINT"):
            return self.checkpoint_spoiled
        # Behind the last records that are on disk for sure there may be a mark, and segments that hold nothing yet.
        last = self.model.last_durable_segment()
        return error.case == "FRONT_MISSING" and any(segment >= last for segment, _ in self.spoiled)

    def recover(self, recovery: Recovery) -> None:
        """Read what there is, and have it judged."""
        found = []
        if recovery.checkpoint is not None:
            self.state.names = json.loads(recovery.checkpoint.payload)
        for kind, sequence, payload, segment in self.records(recovery):
            found.append((sequence, kind, payload))
            self.state.apply(kind, payload)
            if kind == MESSAGE:
                self.holders[number_of(payload)] = segment
        self.trace.note(
            f"found {len(found)} up to {recovery.sequence} {[*map(str, recovery.repairs), *map(str, recovery.damages)]}"
        )
        refused = [(number_in(name, SEGMENT_PREFIX) or 0, offset) for name, offset, _ in self.disk.refused]
        self.model.on_recovered(
            Discovery(
                recovery.sequence,
                found,
                self.state,
                recovery.checkpoint_sequence,
                recovery.damages,
                self.spoiled + refused,
                lambda number: str(segment_path(DIRECTORY, number)) in self.disk.names,
                self.read,
            )
        )

    def records(self, recovery: Recovery) -> Iterable[tuple[int, int, bytes, Segment]]:
        """Return the records, read one by one or from indexes where there are any."""
        if self.replayer is None:
            return recovery.records()
        collector = Collector()
        recovery.replay(collector)
        return collector.records

    def read(self, place: Place) -> bytes | None:
        """Return what is on disk at a place, None if it cannot be read."""
        path = segment_path(DIRECTORY, place.segment)
        inode = self.disk.names.get(str(path))
        refused = any(name == path.name and place.overlaps(offset, size) for name, offset, size in self.disk.refused)
        if inode is None or refused:
            return None
        with suppress(OSError):
            return inode.read(place.offset, place.size)
        return None

    def octets(self, damage: Damage) -> bytes | None:
        """Return what is to be kept of what is damaged; None where nobody knows, as it was read twice."""
        if self.disk.error_count > self.errors_before:
            return None
        data = bytearray(self.disk.names[str(damage.path)].seen)
        for block in self.disk.names[str(damage.path)].unreadable:
            data[block * UNREADABLE_SIZE : (block + 1) * UNREADABLE_SIZE] = bytes(UNREADABLE_SIZE)
        return bytes(data[damage.offset : damage.offset + damage.size])

    def check_quarantine(self, damage: Damage, octets: bytes | None) -> None:
        """See that a copy of what is damaged is kept for sure."""
        prefix = f"{DIRECTORY / QUARANTINE_NAME / damage.path.name}-{damage.offset:010}-"
        copies = {name: bytes(inode.durable) for name, inode in self.disk.durable_names.items()}
        kept = any(name.startswith(prefix) for name in copies)
        if octets is not None:
            kept = copies.get(f"{prefix}{crc32c(octets):08x}") == octets
        demand(kept, f"a copy of what is damaged is kept: {damage}")

    def on_durable(self, batch: int) -> None:
        self.trace.note(f"durable {batch}")
        if not self.machine.crashed:
            self.model.on_durable(batch)
            if self.weather.rots:
                self.model.look_at_disk(self.read, durable_only=True)

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
        if fate < 0.4:
            with suppress(JournalFailed):
                self.append_unit()
        elif fate < 0.48:
            with suppress(JournalFailed):
                self.append_copy()
        elif fate < 0.53:
            self.fetch()
        elif fate < 0.78:
            self.journal.commit()
        elif fate < 0.79 and self.weather.rots:
            self.rot_somewhere()
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
        self.append(records)
        for number in settled:
            self.journal.release(self.holders.pop(number))

    def append(self, records: list[tuple[int, bytes]]) -> None:
        unit = Unit([], 0)
        for index, (kind, payload) in enumerate(records):
            sequence = self.journal.append(kind, payload, index == len(records) - 1)
            segment, size = self.journal.current, size_of(len(payload))
            written = Written(sequence, kind, payload, Place(segment.number, segment.size - size, size))
            unit.records.append(written)
            if kind in (MESSAGE, COPY):
                (self.holders if kind == MESSAGE else self.copies)[number_of(payload)] = segment
                self.kept[number_of(payload)] = written
                self.journal.retain(segment)
            self.state.apply(kind, payload)
        unit.batch = self.journal.open_batch
        self.model.units.append(unit)
        self.trace.note(f"unit {len(self.model.units)} up to {unit.last}")

    def append_copy(self) -> None:
        """Append what means nothing after a restart, and is wanted for a while."""
        if self.copies and self.chance.random() < len(self.copies) / COPIES_MAX:
            self.journal.release(self.copies.pop(self.chance.choice(list(self.copies))))
            return
        body = self.chance.randbytes(self.chance.randint(0, self.chance.choice(BODY_SIZES)))
        self.append([(COPY, message(self.number(), body))])

    # Reading back

    def fetch(self) -> None:
        """Have some records read back that are needed and written."""
        wanted = []
        for number, segment in (self.holders | self.copies).items():
            place = self.kept[number].place
            if place.offset + place.size <= segment.written_size:
                wanted.append((number, place))
        if not wanted or self.journal.failed:
            return
        wanted = self.chance.sample(wanted, self.chance.randint(1, min(len(wanted), FETCHED_MAX)))
        if self.chance.random() < 0.7:
            wanted.sort(key=lambda item: item[1])
        fetch = Fetch()
        for number, place in wanted:
            size = self.chance.choice([place.size, 0, 500])
            fetch.add(number, (place.segment << 32) + place.offset // UNIT_SIZE, size)
        self.fetch_count += len(wanted)
        self.trace.note(f"fetch {[number for number, _ in wanted]} {self.journal.fetch(fetch)}")

    def on_fetched(self, fetch: Fetch) -> None:
        self.trace.note(f"fetched {[(number, status.name) for number, status, _ in fetch.results()]}")
        for number, status, payload in fetch.results():
            record = self.kept[number]
            if status is FetchStatus.READ:
                demand(payload == record.payload, f"what is read back is what was written: {number}")
                continue
            failed = self.disk.error_count > self.errors_before or self.disk.is_off
            excused = failed and status is FetchStatus.UNREADABLE
            if number in self.holders or number in self.copies:
                whole = record.octets is None or self.read(record.place) == record.octets
                demand(excused or not whole, f"what is needed is read back: {number} at {record.place}: {status.name}")
                if status is FetchStatus.DAMAGED:
                    self.journal.quarantine(*record.place)

    def rot_somewhere(self) -> None:
        """Damage something that is on disk and known."""
        self.model.look_at_disk(self.read, durable_only=True)
        records = [
            record
            for unit in self.model.units
            if unit.generation
            for record in unit.records
            if record.octets is not None and self.read(record.place) == record.octets
        ]
        if not records:
            return
        place = self.chance.choice(records).place
        offset = place.offset + self.chance.randrange(place.size)
        name = str(segment_path(DIRECTORY, place.segment))
        self.disk.flip_bit(name, offset, self.chance.randrange(8))
        self.trace.note(f"damaged {name} at {offset}")
        self.spoiled.append((place.segment, offset))

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
        self.model.on_closed(Place(self.journal.current.number, self.journal.current.size - STOPPED_SIZE, STOPPED_SIZE))
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
        if self.weather.rots:
            self.disk.refused.clear()
            self.model.look_at_disk(self.read, durable_only=False)
            if self.disk.used_files() and self.chance.random() < 0.5:
                name, offset = self.disk.damage(unreadable=self.chance.random() < 0.2)
                self.trace.note(f"damaged {name} at {offset}")
                self.spoiled.append((number_in(Path(name).name, SEGMENT_PREFIX) or 0, offset))
                self.checkpoint_spoiled |= Path(name).name.startswith(CHECKPOINT_PREFIX)


def is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
