"""What a start must make of a log, told from what became of each record and not from the octets.

It knows the promises of docs/recovery.md and nothing of how they are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from storage.cases import Case
from storage.layout import HEADER_SIZE
from storage.record import RECLAIMED, SEALED, STATE_MIN, STOPPED
from storage.recovery import FIRST_NUMBER
from tests.unit.storage.made_logs import Log, Part, Slot, State


@dataclass
class Expectation:
    """What must come of a log.

    ``refusals``: a start is refused with one of these, or not at all. ``lost`` had been on disk and is not;
    ``lost_max`` is how many records can be counted as such. ``cut`` says whether something is thrown away of which
    nothing proves that it had been on disk.
    """

    refusals: set[Case] = field(default_factory=set)
    served: list[tuple[int, int, bytes]] = field(default_factory=list)
    lost: list[Slot] = field(default_factory=list)
    lost_max: int = 0
    cut: bool = False
    sequence: int = 0


def tellable(part: Part) -> bool:
    """Say whether there is something to tell the records of a segment by: its header, or two neighbours."""
    return part.header_whole or any(a.state is b.state is State.WHOLE for a, b in pairwise(part.slots))


def readable(part: Part, slot: Slot) -> bool:
    return slot.state is State.WHOLE and tellable(part)


def has_believable_index(part: Part) -> bool:
    """Say whether a segment is read from its index."""
    return part.index_end > 0 and part.octets is not None and part.header_whole and len(part.octets) >= part.index_end


def expect(log: Log, indexes: bool = False) -> Expectation:
    """Say what must come of a log; with ``indexes``, if segments that have one are not read."""
    expected = Expectation()
    at_once = {log.refusal, *(part.refusal for part in log.parts)} - {None}
    if at_once:
        expected.refusals = {case for case in at_once if case is not None}
        return expected
    there = [part for part in log.parts if part.octets is not None]
    slots = [(part, slot) for part in log.parts for slot in part.slots]
    noted = max([log.newest, log.proof, *(part.maker.header.durable for part in there if part.header_whole)])

    def proved(part: Part, slot: Slot) -> bool:
        return slot.sequence <= noted or any(
            readable(other, later) and (later.durable >= slot.sequence or other.number > part.number)
            for other, later in slots
        )

    kept: list[tuple[Part, Slot]] = []
    torn: Slot | None = None
    is_open = False
    indexed: set[str] = set()
    for part, slot in slots:
        follows = not expected.sequence or expected.sequence + 1 == slot.sequence
        if indexes and slot is part.slots[0] and has_believable_index(part) and follows and not is_open:
            indexed.add(part.name)
        if part.name in indexed or readable(part, slot):
            is_open = False
            if kept and slot.sequence <= kept[-1][1].sequence:
                expected.refusals.add(Case.SEQUENCE_REPEATED)
                return expected
            kept.append((part, slot))
        elif proved(part, slot):
            expected.lost.append(slot)
            is_open = slot.state is not State.HURT or not tellable(part)
        else:
            torn = slot
            break
        expected.sequence = slot.sequence
    if torn is not None:
        expected.cut = torn.state is not State.ABSENT
        if torn.unit and any(slot.unit == torn.unit for _, slot in kept) and not _unknown(log, torn):
            expected.cut = True
            kept = [(part, slot) for part, slot in kept if slot.unit != torn.unit]
            expected.sequence = torn.unit - 1
    expected.served = [
        (slot.kind, slot.sequence, slot.payload)
        for _, slot in kept
        if slot.unit and (slot.kind < STATE_MIN or slot.sequence > log.checkpoint)
    ]
    end = _end(log, torn)
    expected.refusals = set(_refusals(log, there, kept, expected, noted, end))
    expected.lost_max = max(len(expected.lost), noted - (kept[-1][1].sequence if kept else 0))
    if noted > expected.sequence:
        # Records that are in no list here, with a place in a file, or else the start is refused.
        if not _has_room(there, kept, noted, end):
            expected.refusals.add(Case.END_MISSING)
        expected.sequence = noted
    return expected


def _has_content(part: Part) -> bool:
    return len(part.octets or b"") > HEADER_SIZE or not tellable(part)


def _unknown(log: Log, torn: Slot) -> bool:
    """Say whether a record may be in a file that does not tell what is in it."""
    place = next(place for place, part in enumerate(log.parts) if torn in part.slots)
    following = [part for part in log.parts[place + 1 :] if part.octets is not None and _has_content(part)]
    return torn.state is State.ABSENT and bool(following) and not tellable(following[0])


def _has_room(there: list[Part], kept: list[tuple[Part, Slot]], noted: int, end: int) -> bool:
    """Say whether there is a place where the records up to ``noted``, behind the log's end, may have been."""
    ending = kept[-1][0].number if kept else 0
    for part in reversed([part for part in there if part.number <= end]):
        if not tellable(part):
            return True
        last = part.slots[-1] if part.slots else None
        marked = last is not None and last.state is State.WHOLE and last.kind in (SEALED, STOPPED)
        present = [slot.end for slot in part.slots if slot.state is not State.ABSENT]
        is_filled = marked or len(part.octets or b"") <= max([HEADER_SIZE, *present])
        if part.number == ending:
            return not is_filled
        # Of a segment that was prepared later it is known that they were not in it.
        if not is_filled and not (part.header_whole and part.maker.header.durable >= noted):
            return True
    return False


def _end(log: Log, torn: Slot | None) -> int:
    """Return the number of the segment in which the log ends: what is behind it is not looked at."""
    if torn is None:
        return log.parts[-1].number
    place = next(place for place, part in enumerate(log.parts) if torn in part.slots)
    if torn.state is State.ABSENT:
        place += 1
    for part in log.parts[place:]:
        if part.octets is not None and tellable(part) and _has_content(part):
            return part.number
    return log.parts[-1].number


def _refusals(
    log: Log, there: list[Part], kept: list[tuple[Part, Slot]], expected: Expectation, noted: int, end: int
) -> Iterator[Case]:
    """Say what of whole files is missing, of which nothing says that it need not be there."""
    marked = [(part, slot) for part, slot in kept if slot.kind == RECLAIMED]
    first_needed = log.parts[0].number if marked else FIRST_NUMBER
    marked_in, marked_at = (marked[-1][0].number, marked[-1][1].sequence) if marked else (0, 0)
    checkpoint_needed = log.needed if marked else 0
    first_kept = kept[0][1].sequence if kept else 0
    lost = {id(slot) for slot in expected.lost}

    def hidden(missing: int) -> bool:
        """Whether a mark that lets this segment go may have stood in what is lost behind it."""
        for part in there:
            if missing < part.number <= end:
                if part.number < marked_in:
                    continue
                if (not tellable(part) and part.number > marked_in) or _may_have_held(part, kept, expected, noted):
                    return True
                for slot in part.slots:
                    if id(slot) not in lost or slot.sequence <= marked_at:
                        continue
                    # What a file has lost at its end is noticed only if anything is known before.
                    if slot.state is State.ABSENT and not 0 < first_kept < slot.sequence:
                        continue
                    if slot.state is not State.HURT or slot.kind == RECLAIMED:
                        return True
        return False

    unproved = False
    if there and there[0].number > first_needed:
        unproved = hidden(there[0].number - 1)
        if not unproved:
            yield Case.FRONT_MISSING
    for before, after in pairwise(there):
        if before.number + 1 < after.number <= end:
            if hidden(after.number - 1):
                unproved = True
            else:
                yield Case.NUMBER_GAP
    if unproved:
        checkpoint_needed = max(checkpoint_needed, log.bad_checkpoint)
    if checkpoint_needed > log.checkpoint:
        yield Case.CHECKPOINT_BAD if log.bad_checkpoint >= checkpoint_needed else Case.CHECKPOINT_MISSING
    if _without_place(log, kept, expected, noted):
        yield Case.END_MISSING


def _may_have_held(part: Part, kept: list[tuple[Part, Slot]], expected: Expectation, noted: int) -> bool:
    """Say whether a segment may have begun with what is lost at the end of the log: it was prepared before that."""
    last_part, last = (kept[-1][0].number, kept[-1][1].sequence) if kept else (0, 0)
    lost = [sequence for sequence in (noted, *(slot.sequence for slot in expected.lost)) if sequence > last]
    begins = part.slots[0].state if part.slots else State.WIPED
    prepared_at = part.maker.header.durable
    unread = part.number > last_part and begins in (State.GARBLED, State.WIPED)
    return unread and prepared_at < min(lost, default=0)


def _without_place(log: Log, kept: list[tuple[Part, Slot]], expected: Expectation, noted: int) -> bool:
    """Say whether the log ends with records that had been on disk and have no place in any file."""
    last = kept[-1][1].sequence if kept else 0
    ending = {id(slot) for slot in expected.lost if slot.sequence > last}
    if not ending or expected.lost[-1].state is not State.ABSENT:
        return False
    for part in log.parts:
        if part.octets is not None and (not tellable(part) or _may_have_held(part, kept, expected, noted)):
            return False
        if any(id(slot) in ending and slot.state in (State.GARBLED, State.WIPED) for slot in part.slots):
            return False
    return True
