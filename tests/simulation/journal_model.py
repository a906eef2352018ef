"""What a journal's owner appended, what it was told, and what a start has to find accordingly."""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from storage.cases import Case
from storage.damage import Damage
from storage.layout import HEADER_SIZE
from storage.record import STATE_MIN, VOLATILE_MIN
from tests.simulation.violation import demand

MESSAGE, SETTLED, COPY, NAME = 1, 2, VOLATILE_MIN, STATE_MIN
_NUMBER = struct.Struct("<Q")

Found = tuple[int, int, bytes]  # sequence, kind, payload


class Place(NamedTuple):
    """Where something is in the segments."""

    segment: int
    offset: int
    size: int

    def overlaps(self, offset: int, size: int) -> bool:
        return self.offset < offset + size and offset < self.offset + self.size


@dataclass(eq=False)
class Written:
    """A record, where it is, and its octets as they were on disk as soon as that could be seen."""

    sequence: int
    kind: int
    payload: bytes
    place: Place
    octets: bytes | None = None

    @property
    def is_volatile(self) -> bool:
        return VOLATILE_MIN <= self.kind < STATE_MIN

    def __str__(self) -> str:
        return f"record {self.sequence}"


@dataclass
class State:
    """What a journal's records add up to: messages by number, and a state that only checkpoints keep."""

    messages: dict[int, bytes] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def apply(self, kind: int, payload: bytes) -> None:
        if kind == NAME:
            self.names = [*self.names[-3:], payload.decode()]
        elif kind == MESSAGE:
            self.messages[number_of(payload)] = payload
        elif kind == SETTLED:
            for (number,) in _NUMBER.iter_unpack(payload[_NUMBER.size :]):
                self.messages.pop(number, None)


def number_of(payload: bytes) -> int:
    """Return the number of the message, or of the settlement, in a payload."""
    number: int = _NUMBER.unpack_from(payload)[0]
    return number


def message(number: int, body: bytes) -> bytes:
    """Return the payload of a message."""
    return _NUMBER.pack(number) + body


def settlement(number: int, settled: Sequence[int]) -> bytes:
    """Return the payload that settles messages."""
    return b"".join(map(_NUMBER.pack, (number, *settled)))


@dataclass
class Unit:
    """Records that count only together, and the batch that makes them durable.

    ``generation`` counts what became durable one after the other; 0 is not durable yet. Each record says that those of
    generations before its own had been on disk.
    """

    records: list[Written]
    batch: int
    generation: int = 0

    @property
    def last(self) -> int:
        return self.records[-1].sequence

    @property
    def is_volatile(self) -> bool:
        return all(record.is_volatile for record in self.records)


@dataclass
class Discovery:
    """What a start has found.

    ``found`` are the records it handed out, ``state`` what they and the checkpoint of ``checkpoint_sequence`` add up
    to, ``reported`` what it calls damaged. ``spoiled`` are all places (segment, offset) that have ever been damaged,
    with segment 0 for other files. ``is_there`` says whether there is a segment of a number, ``read`` what is at a
    place, or None where it cannot be read.
    """

    last_sequence: int
    found: Sequence[Found]
    state: State
    checkpoint_sequence: int
    reported: Sequence[Damage]
    spoiled: Sequence[tuple[int, int]]
    is_there: Callable[[int], bool]
    read: Callable[[Place], bytes | None]


@dataclass
class JournalModel:
    """The history of one journal through all its lives.

    Of ``units``, the first ``durable`` are on disk: whatever happens to the power, they are found. ``lost`` are the
    sequences of records that are damaged. ``headers`` are those of segments as they were, ``witnesses`` records of the
    journal itself, each with the generation it stands for. ``gone`` are the numbers of messages whose segment went and
    whose settlement was damaged since, of which nothing else is known any more.
    """

    units: list[Unit] = field(default_factory=list)
    durable: int = 0
    generation: int = 0
    lost: set[int] = field(default_factory=set)
    headers: dict[int, bytes] = field(default_factory=dict)
    witnesses: list[tuple[int, Written]] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)

    def on_durable(self, batch: int) -> None:
        """The journal said that a batch is on disk. Of one that is all volatile that means nothing."""
        done = [unit for unit in self.units[self.durable :] if unit.batch <= batch]
        synced = max((unit.batch for unit in done if not unit.is_volatile), default=0)
        self._become_durable(self.durable + sum(unit.batch <= synced for unit in done))

    def on_closed(self, place: Place) -> None:
        """The journal was closed, and did not fail. The mark of that is at a place."""
        demand(
            all(unit.is_volatile for unit in self.units[self.durable :]),
            "a journal is closed when everything is on disk",
        )
        if self.durable < len(self.units):
            # What nobody waited for is synced together with that mark, which is no proof of it.
            self._become_durable(len(self.units))
        else:
            self.generation += 1
        self.witnesses.append((self.generation, Written(0, 0, b"", place)))

    def _become_durable(self, count: int) -> None:
        if count > self.durable:
            self.generation += 1
            for unit in self.units[self.durable : count]:
                unit.generation = self.generation
            self.durable = count

    def last_durable_segment(self) -> int:
        """Return the number of the last segment with something in it that is on disk for sure."""
        durable = [record for unit in self.units if unit.generation for record in unit.records]
        written = [*durable, *(witness for _, witness in self.witnesses)]
        return max((record.place.segment for record in written), default=0)

    def look_at_disk(self, read: Callable[[Place], bytes | None], *, durable_only: bool) -> None:
        """Take what is on disk for what was written, while nothing is damaged since."""
        written = [record for unit in self.units if unit.generation or not durable_only for record in unit.records]
        for record in [*written, *(witness for _, witness in self.witnesses)]:
            if record.octets is None:
                record.octets = read(record.place)
            if record.place.segment not in self.headers:
                header = read(Place(record.place.segment, 0, HEADER_SIZE))
                if header:
                    self.headers[record.place.segment] = header

    def state(self, count: int, behind: Iterable[Written], is_there: Callable[[int], bool]) -> State:
        """Return the state after so many units; what is ``behind`` had been on disk, and is lost with the log's end."""
        state = State()
        segments: dict[int, int] = {}
        for unit in self.units[:count]:
            for record in unit.records:
                if record.sequence not in self.lost:
                    state.apply(record.kind, record.payload)
                    if record.kind == MESSAGE:
                        segments[number_of(record.payload)] = record.place.segment
                elif record.kind == SETTLED:
                    # What was settled comes back, unless it went before the settlement was damaged.
                    self._let_go(state, record, segments, is_there)
        for record in behind:
            if record.kind == SETTLED:
                self.gone |= self._let_go(state, record, segments, is_there)
        for number in self.gone & state.messages.keys():
            del state.messages[number]
        return state

    def _let_go(
        self, state: State, record: Written, segments: dict[int, int], is_there: Callable[[int], bool]
    ) -> set[int]:
        """Take out the messages that a record has settled and whose segment went since then; return which."""
        settled = State(state.messages.copy())
        settled.apply(record.kind, record.payload)
        gone = {number for number in state.messages.keys() - settled.messages.keys() if not is_there(segments[number])}
        for number in gone:
            del state.messages[number]
        return gone

    # A start

    def on_recovered(self, discovery: Discovery) -> None:
        """Judge what a start has found, and take it for what there is from now on."""
        demand(bool(discovery.spoiled) or not discovery.reported, "nothing is reported where nothing is damaged")
        durable = [record for unit in self.units if unit.generation for record in unit.records]
        behind = [record for record in durable if record.sequence > discovery.last_sequence]
        untold = self._untold(discovery)
        damaged = self._damaged(discovery, untold)
        count = sum(unit.last <= discovery.last_sequence for unit in self.units)
        if count < len(self.units) and self._keep_part(self.units[count], damaged, discovery):
            count += 1
        floor = self._floor(discovery, damaged, untold)
        demand(count >= floor, f"what is durable is found: {floor} units, not only {count}")
        kept = [record for unit in self.units[:count] for record in unit.records]
        written = {record.sequence: record for record in kept}
        for sequence, kind, payload in discovery.found:
            record = written.get(sequence)
            demand(
                record is not None and (record.kind, record.payload) == (kind, payload),
                f"nothing is found that was not written: record {sequence}",
            )
        found = [record[0] for record in discovery.found]
        demand(found == sorted(set(found)), "records are found once, in their order")
        self._miss(kept, set(found), damaged, discovery)
        expected = self.state(count, behind, discovery.is_there)
        demand(
            discovery.state == expected,
            f"the state is that after some unit: {sorted(discovery.state.messages)} {discovery.state.names} instead "
            f"of {sorted(expected.messages)} {expected.names}",
        )
        del self.units[count:]
        self.durable = min(self.durable, count)
        self.lost = {sequence for sequence in self.lost if sequence in written}
        # Batches are counted anew by each journal, and what was found counts from the first one.
        for unit in self.units:
            unit.batch = 0

    def _keep_part(self, unit: Unit, damaged: set[int], discovery: Discovery) -> bool:
        """Cut off a unit the rest of which is damaged, so that nobody knows where it ended. Returns whether that is so.

        The numbers of that rest are given to other records.
        """
        kept = [record for record in unit.records if record.sequence <= discovery.last_sequence]
        rest = unit.records[len(kept) :]
        found = {record[0] for record in discovery.found}
        if not any(record.sequence in found for record in kept):
            return False
        # What had never been on disk for sure may be torn as well as damaged. Nobody can tell then that it had begun,
        # or how far it went on behind damage without an end.
        is_torn = not unit.generation and (
            any(record.sequence in damaged and reports_on(record, discovery) for record in kept)
            or any(damage.count == 0 for damage in reports_on(rest[0], discovery))
        )
        demand(
            all(
                (record.sequence in damaged or not unit.generation) and (is_torn or reports_on(record, discovery))
                for record in rest
            ),
            f"a unit is found as a whole, or as far as it is not damaged: {[*map(str, rest)]}",
        )
        unit.records = kept
        return True

    def on_opened(self) -> None:
        """The journal is open again, and has brought on disk whatever it has found."""
        self._become_durable(len(self.units))

    def _untold(self, discovery: Discovery) -> set[int]:
        """Return the segments whose header is damaged, and in which no two neighbours stand in for it."""
        durable: dict[int, list[Written]] = {}
        for record in (record for unit in self.units if unit.generation for record in unit.records):
            durable.setdefault(record.place.segment, []).append(record)
        for _, witness in self.witnesses:
            durable.setdefault(witness.place.segment, []).append(witness)
        untold = set()
        for segment, header in self.headers.items():
            if discovery.is_there(segment) and discovery.read(Place(segment, 0, HEADER_SIZE)) != header:
                whole = [record for record in durable.get(segment, []) if is_intact(record, discovery)]
                whole.sort(key=lambda record: record.place)
                if not any(
                    before.place.offset + before.place.size == after.place.offset for before, after in pairwise(whole)
                ):
                    untold.add(segment)
        return untold

    def _damaged(self, discovery: Discovery, untold: set[int]) -> set[int]:
        """Return the sequences of records that are not as they were, or cannot be told because of such a header."""
        return {
            record.sequence
            for unit in self.units
            for record in unit.records
            if discovery.is_there(record.place.segment)
            and (record.place.segment in untold or not is_intact(record, discovery))
        }

    def _floor(self, discovery: Discovery, damaged: set[int], untold: set[int]) -> int:
        """Return how many units have to be found at least: what is damaged may look as if it had never been on disk."""
        if not discovery.spoiled:
            return self.durable
        proving = [
            unit.generation
            for unit in self.units
            for record in unit.records
            if record.sequence not in damaged and discovery.is_there(record.place.segment)
        ]
        proving += [
            generation
            for generation, witness in self.witnesses
            if discovery.is_there(witness.place.segment)
            and witness.place.segment not in untold
            and is_intact(witness, discovery)
        ]
        proved = max(proving, default=0)
        floor = sum(0 < unit.generation < proved for unit in self.units)
        if floor < self.durable:
            first = self.units[floor].records[0].place
            spoiled = [place for place in discovery.spoiled if discovery.is_there(place[0])]
            if all(place < (first.segment, 0) for place in spoiled):
                return self.durable
        return floor

    def _miss(self, kept: Iterable[Written], found: set[int], damaged: set[int], discovery: Discovery) -> None:
        """Note which records are lost, and see that this is said, and of no other."""
        for record in kept:
            reports = reports_on(record, discovery)
            if record.sequence in found:
                self.lost.discard(record.sequence)
                demand(
                    all(damage.case is not Case.RECORD_DAMAGED for damage in reports),
                    f"nothing is called damaged that is found: {record}",
                )
            elif record.sequence not in damaged:
                # Its segment was reclaimed, or a checkpoint covers it.
                continue
            elif record.kind != NAME or record.sequence > discovery.checkpoint_sequence:
                demand(bool(reports), f"what is lost is reported: {record} at {record.place}")
                self.lost.add(record.sequence)


def is_intact(record: Written, discovery: Discovery) -> bool:
    """Say whether a record is on disk as it was."""
    return record.octets is None or discovery.read(record.place) == record.octets


def reports_on(record: Written, discovery: Discovery) -> list[Damage]:
    """Return what is said about a record."""
    return [damage for damage in discovery.reported if covers(damage, record)]


def covers(damage: Damage, record: Written) -> bool:
    """Say whether a damage is that of a record."""
    if damage.size and damage.segment == record.place.segment and record.place.overlaps(damage.offset, damage.size):
        return True
    return damage.count > 0 and damage.sequence <= record.sequence < damage.sequence + damage.count
