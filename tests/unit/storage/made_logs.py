"""Logs in which every part is in a state of its own, made together with what is known about each of their records."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from storage.cases import Case
from storage.checksum import crc32c
from storage.index import write_index
from storage.layout import HEADER_SIZE, CheckpointHeader, checkpoint_path, index_path, proof_path, segment_path
from storage.record import RECLAIMED, SEALED, STATE_MIN, STOPPED
from storage.recovery import reclaimed_payload
from storage.replayer import Replayer
from tests.unit.storage.simulated_disk import SimulatedDisk
from tests.unit.storage.support import DIRECTORY, SegmentMaker

MESSAGE = 1
STATE = STATE_MIN
CHECKPOINT_PAYLOAD = b"the state"
PAYLOAD_LOST_AT = 40
"""Where in a record its payload is changed when that is to be damaged: its header stays."""


class State(Enum):
    """What became of the octets of a record."""

    WHOLE = auto()
    HURT = auto()  # the payload is damaged, the header is not
    GARBLED = auto()
    WIPED = auto()  # zeros
    ABSENT = auto()  # the file ends before it, or is not there


@dataclass
class Slot:
    """A record as it was written, and what became of it. ``unit`` is the same for all of a unit, 0 for a mark."""

    sequence: int
    durable: int
    kind: int
    payload: bytes
    unit: int
    begin: int
    end: int
    state: State = State.WHOLE


@dataclass
class Part:
    """A segment. ``octets`` are None if the file is not there; ``refusal`` is why a start is refused because of it."""

    number: int
    maker: SegmentMaker
    slots: list[Slot] = field(default_factory=list)
    octets: bytes | None = None
    header_whole: bool = True
    header_case: Case | None = None
    refusal: Case | None = None
    index_end: int = 0  # where its index says that its records end, if it has one

    @property
    def name(self) -> str:
        """The file's name."""
        return segment_path(DIRECTORY, self.number).name

    def add(self, kind: int, payload: bytes, unit: int, ends: bool) -> None:
        """Write a record."""
        maker = self.maker
        begin, durable = len(maker.data), maker.durable
        maker.add(kind, payload, ends)
        self.slots.append(Slot(maker.sequence, durable, kind, payload, unit, begin, len(maker.data)))

    def batch(self, *units: Iterable[int]) -> None:
        """Write a batch of units, given by the kinds of their records."""
        for kinds in map(list, units):
            unit = self.maker.sequence + 1
            for place, kind in enumerate(kinds, 1):
                payload = b"record %d of segment %d " % (self.maker.sequence + 1, self.number)
                self.add(kind, payload * (1 + self.maker.sequence % 3), unit, place == len(kinds))
        self.maker.durable = self.maker.sequence

    def mark(self, kind: int, payload: bytes = b"") -> None:
        """Write a mark, in a batch of its own."""
        self.add(kind, payload, 0, ends=False)
        self.maker.durable = self.maker.sequence

    def put(self, offset: int, octets: bytes) -> None:
        """Write octets over others."""
        assert self.octets is not None
        self.octets = self.octets[:offset] + octets + self.octets[offset + len(octets) :]

    def lose(self, slots: Iterable[Slot], state: State) -> None:
        """Say that the octets of these records are not what they were."""
        for slot in slots:
            slot.state = state


Change = Callable[[Part], None]


# What can be wrong with a file, one after the other.


def nothing(part: Part) -> None:
    """Leave it as it is."""


def short_header(part: Part) -> None:
    assert part.octets is not None
    part.octets = part.octets[: HEADER_SIZE - 1]
    part.header_whole, part.header_case = False, Case.HEADER_SHORT
    part.lose(part.slots, State.ABSENT)


def empty(part: Part) -> None:
    short_header(part)
    part.octets = b""


def wrong_magic(part: Part) -> None:
    part.put(0, b"?")
    part.header_whole, part.header_case = False, Case.HEADER_MAGIC


def wrong_checksum(part: Part) -> None:
    part.put(20, b"\xa5")
    part.header_whole, part.header_case = False, Case.HEADER_CHECKSUM


def lost_header(part: Part) -> None:
    """Only noise is left."""
    assert part.octets is not None
    part.octets = bytes(7 * index % 251 or 1 for index in range(len(part.octets)))
    part.header_whole, part.header_case = False, Case.HEADER_LOST
    part.lose(part.slots, State.GARBLED)


def later_version(part: Part) -> None:
    assert part.octets is not None
    fields = part.octets[:8] + struct.pack("<I", 2) + part.octets[12 : HEADER_SIZE - 4]
    part.put(0, fields + struct.pack("<I", crc32c(fields)))
    part.refusal = Case.HEADER_NEWER


def other_number(part: Part) -> None:
    part.put(0, replace(part.maker.header, number=part.number + 7).encode())
    part.refusal = Case.HEADER_NUMBER


def missing(part: Part) -> None:
    part.octets = None
    part.lose(part.slots, State.ABSENT)


def only_a_header(part: Part) -> None:
    assert part.octets is not None
    part.octets = part.octets[:HEADER_SIZE]
    part.lose(part.slots, State.ABSENT)


def hurt(place: int) -> Change:
    """Damage the payload of a record."""

    def change(part: Part) -> None:
        slot = part.slots[place]
        part.put(slot.begin + PAYLOAD_LOST_AT, b"\xff\xff")
        slot.state = State.HURT

    return change


def garbled(place: int) -> Change:
    """Damage the header of a record."""

    def change(part: Part) -> None:
        slot = part.slots[place]
        part.put(slot.begin + 4, b"\xff" * 20)
        slot.state = State.GARBLED

    return change


def wiped(first: int, last: int | None = None) -> Change:
    """Have zeros in the place of records."""

    def change(part: Part) -> None:
        slots = part.slots[first:last]
        part.put(slots[0].begin, bytes(slots[-1].end - slots[0].begin))
        part.lose(slots, State.WIPED)

    return change


def cut_before(place: int) -> Change:
    """End the file before a record."""

    def change(part: Part) -> None:
        assert part.octets is not None
        part.octets = part.octets[: part.slots[place].begin]
        part.lose(part.slots[place:], State.ABSENT)

    return change


def cut_within(place: int) -> Change:
    """End the file within a record."""

    def change(part: Part) -> None:
        assert part.octets is not None
        part.octets = part.octets[: part.slots[place].begin + PAYLOAD_LOST_AT]
        part.lose(part.slots[place:], State.ABSENT)
        part.slots[place].state = State.GARBLED

    return change


def both(first: Change, second: Change) -> Change:
    """Have two things wrong."""

    def change(part: Part) -> None:
        first(part)
        second(part)

    return change


# How the log can end in the last segment.


def open_end(part: Part) -> None:
    """Zeros follow, as in a file that was prepared."""
    part.octets = part.maker.bytes()


def sealed(part: Part) -> None:
    """The segment is full, and there is no other."""
    part.mark(SEALED)
    part.octets = part.maker.bytes(0)


def stopped(part: Part) -> None:
    part.mark(STOPPED)
    part.octets = part.maker.bytes()


def stale_end(part: Part) -> None:
    """Records of the file's earlier life follow."""
    earlier = SegmentMaker(part.number, file_id=99, epoch=1, sequence=5, durable=5).batch(
        [(b"an earlier life" * 9,)] * 3
    )
    part.octets = bytes(part.maker.data) + bytes(earlier.data[len(earlier.data) // 2 // 8 * 8 :])


def torn_end(part: Part) -> None:
    """Of a batch the second record is on disk and the first is not."""
    part.batch([MESSAGE], [MESSAGE, MESSAGE])
    part.octets = part.maker.bytes()
    garbled(-3)(part)


def unfinished_unit(part: Part) -> None:
    """Of a batch the first records are on disk, and the unit goes on."""
    part.batch([MESSAGE, MESSAGE, MESSAGE])
    part.octets = part.maker.bytes()
    wiped(-1)(part)


@dataclass(frozen=True)
class PartState:
    """A state of a segment: whether anything was written to it, what stands at its end, and what is wrong."""

    end: Change
    change: Change = nothing
    used: bool = True


DAMAGE: dict[str, Change] = {
    "whole": nothing,
    "short header": short_header,
    "empty": empty,
    "wrong magic": wrong_magic,
    "wrong checksum": wrong_checksum,
    "lost header": lost_header,
    "other number": other_number,
    "later version": later_version,
    "missing": missing,
    "only a header": only_a_header,
    "first hurt": hurt(0),
    "first garbled": garbled(0),
    "middle hurt": hurt(2),
    "middle garbled": garbled(2),
    "last hurt": hurt(3),
    "last garbled": garbled(3),
    "mark garbled": garbled(-1),
    "end wiped": wiped(3),
    "all wiped": wiped(0),
    "cut before a record": cut_before(2),
    "cut within a record": cut_within(3),
    "header and first": both(wrong_magic, garbled(0)),
    "header and middle": both(wrong_checksum, wiped(1, 3)),
}

EARLIER_STATES = {name: PartState(sealed, change) for name, change in DAMAGE.items()}
"""Of a segment with a later one behind it."""

LAST_STATES = {
    **{
        name: PartState(open_end, change)
        for name, change in DAMAGE.items()
        if name not in ("mark garbled", "last hurt")
    },
    "last hurt": PartState(open_end, hurt(-1)),
    "sealed": PartState(sealed),
    "stopped": PartState(stopped),
    "stopped, mark garbled": PartState(stopped, garbled(-1)),
    "stale end": PartState(stale_end),
    "torn": PartState(torn_end),
    "torn, last hurt": PartState(torn_end, hurt(3)),
    "torn, last garbled": PartState(torn_end, garbled(3)),
    "torn, header": PartState(torn_end, wrong_magic),
    "unfinished unit": PartState(unfinished_unit),
    "unfinished unit, middle garbled": PartState(unfinished_unit, garbled(2)),
    "unused": PartState(open_end, used=False),
    "unused, header": PartState(open_end, wrong_magic, used=False),
    "again": PartState(open_end),
}


@dataclass
class Log:
    """All parts of a log, and the files that are beside them."""

    parts: list[Part]
    checkpoint: int = 0
    newest: int = 0
    proof: int = 0
    needed: int = 0
    bad_checkpoint: int = 0
    refusal: Case | None = None
    files: dict[str, bytes] = field(default_factory=dict)


def make_log(
    first_number: int, states: list[PartState], again: bool = False, needed: int = 0, indexed: bool = False
) -> Log:
    """Write a log; ``needed`` is the checkpoint that stands for the segments before the first one.

    ``again``: the last segment has the numbers of the first one's records. ``indexed``: what ends with a mark has an
    index, which was written before anything was wrong.
    """
    log = Log([], needed=needed)
    parts = log.parts
    sequence = before = 10 if first_number > 1 else 0
    start = sequence
    for place, state in enumerate(states):
        is_last = place + 1 == len(states)
        if again and is_last:
            sequence = start
        maker = SegmentMaker(first_number + place, 1000 + place, 1 + is_last, before, sequence)
        before = sequence
        maker.durable = sequence
        part = Part(first_number + place, maker)
        if state.used:
            part.batch([MESSAGE], [STATE, MESSAGE])
            if is_last and first_number > 1:
                kept = [first_number + number for number in range(len(states))]
                part.mark(RECLAIMED, reclaimed_payload(kept, needed))
            else:
                part.batch([STATE])
        state.end(part)
        sequence = maker.sequence
        if indexed and part.slots and part.slots[-1].kind in (SEALED, STOPPED):
            add_index(log, part)
        state.change(part)
        parts.append(part)
    for part in parts:
        if part.octets is not None:
            log.files[part.name] = part.octets
    return log


def add_index(log: Log, part: Part) -> None:
    """Put an index beside a segment that is whole."""
    assert part.octets is not None
    disk = SimulatedDisk({part.name: part.octets})
    part.index_end = part.slots[-1].end
    assert write_index(disk, DIRECTORY, part.number, part.index_end, Replayer())
    log.files[index_path(DIRECTORY, part.number).name] = disk.files[index_path(DIRECTORY, part.number).name]


def add_checkpoint(
    log: Log, sequence: int, before: int = 0, newest: int = 0, damaged: bool = False, version: int = 1
) -> None:
    """Put a checkpoint beside a log, so many records ``before`` that sequence.

    ``newest``: its state may be that after so many records, as far as they were ever written.
    """
    sequence -= before
    newest = min(newest, log.parts[-1].maker.sequence)
    header = CheckpointHeader(
        sequence, len(CHECKPOINT_PAYLOAD), 1, 0, crc32c(CHECKPOINT_PAYLOAD) ^ damaged, newest
    ).encode()
    if version != 1:
        fields = header[:8] + struct.pack("<I", version) + header[12 : HEADER_SIZE - 4]
        header = fields + struct.pack("<I", crc32c(fields))
        log.refusal = Case.CHECKPOINT_NEWER
    elif damaged:
        log.bad_checkpoint = sequence
    elif sequence > log.checkpoint:
        log.checkpoint, log.newest = sequence, max(sequence, newest)
    log.files[checkpoint_path(DIRECTORY, sequence).name] = header + CHECKPOINT_PAYLOAD


def add_proof(log: Log, sequence: int) -> None:
    """Put a note beside a log which says up to where everything had been on disk."""
    log.proof = max(log.proof, sequence)
    log.files[proof_path(DIRECTORY, sequence).name] = b""
