"""Every combination of the states of a journal's files, against what docs/recovery.md promises.

``made_logs`` makes the files, ``oracle`` says what must come of them. For each combination: what is served, whether a
start is refused and because of what, that looking changes nothing, that the repairs do what the table of cases says,
that damaged octets are kept, and that the log goes on and the next start serves the same.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from storage.cases import LOSSES, Action, Case
from storage.errors import FormatTooNew, JournalDamaged
from storage.index import Index
from storage.layout import HEADER_SIZE, RESERVED_CHECKPOINT_NAME, RESERVED_SEGMENT_NAME, index_path, segment_path
from storage.record import HEADER_SIZE as RECORD_HEADER_SIZE
from storage.recovery import Recovery
from storage.replayer import Replayer
from tests.unit.storage.made_logs import (
    EARLIER_STATES,
    LAST_STATES,
    Log,
    State,
    add_checkpoint,
    add_proof,
    make_log,
)
from tests.unit.storage.oracle import Expectation, expect, tellable
from tests.unit.storage.simulated_disk import SimulatedDisk
from tests.unit.storage.support import DIRECTORY, Record, SegmentMaker

pytestmark = pytest.mark.xdist_group("recovery combinations")

FIRST_OF_THREE = (
    "whole", "wrong checksum", "lost header", "missing", "only a header", "middle hurt", "last garbled",
    "cut before a record",
)  # fmt: skip
SECOND_OF_THREE = (*FIRST_OF_THREE, "short header", "first garbled", "all wiped", "header and first", "first hurt")
LAST_OF_THREE = LAST_STATES.keys() - {"empty", "later version", "middle garbled", "header and middle", "sealed"}
FIRST_WITH_OTHERS = ("whole", "wrong magic", "lost header", "missing", "first garbled", "middle hurt")
LAST_WITH_OTHERS = (
    "whole", "stopped", "wrong checksum", "missing", "last hurt", "last garbled", "torn", "unused",
)  # fmt: skip
FRONT = 4
"""The number of the first segment where those before it were reclaimed."""

COVERED = 12
"""A checkpoint in the middle of the first segment of such a log, whose records begin with 11."""

NEWEST = 18
"""A record in the last segment, with which a batch ends, and which such a checkpoint may know already."""

LITTER = {"README": b"", "segment-1": b"x", "x.tmp": b"", "lock": b"1", "checkpoint-1.index": b""}
RESERVE = {RESERVED_SEGMENT_NAME: bytes(64), RESERVED_CHECKPOINT_NAME: b""}
Made = Iterator[tuple[str, Log]]


def three_segments() -> Made:
    """A state in each place; what differs little from another one is left to two segments."""
    for first, second, last in itertools.product(FIRST_OF_THREE, SECOND_OF_THREE, sorted(LAST_OF_THREE)):
        # What repeats nothing that is there is no repetition.
        if last != "again" or "whole" in (first, second):
            states = [EARLIER_STATES[first], EARLIER_STATES[second], LAST_STATES[last]]
            yield f"{first}, {second}, {last}", make_log(1, states, again=last == "again")


def two_segments() -> Made:
    """All states there are; the segments before them were never there or reclaimed."""
    for first, last, number in itertools.product(EARLIER_STATES, LAST_STATES, (1, FRONT)):
        if last != "again" or (first == "whole" and number == 1):
            states = [EARLIER_STATES[first], LAST_STATES[last]]
            yield f"{first}, {last}, from {number}", make_log(number, states, again=last == "again")


CHECKPOINTS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "used": [{}],
    "used and old": [{"before": 1}, {}],
    "bad": [{"damaged": True}],
    "bad and older": [{"before": 1}, {"damaged": True}],
    "newer state": [{"newest": NEWEST}],
    "later version": [{"version": 2}],
}


def bad_index(log: Log) -> None:
    """Damage all indexes."""
    for part in log.parts:
        if part.index_end:
            name = index_path(DIRECTORY, part.number).name
            log.files[name] = log.files[name][:-1]
            part.index_end = 0


def stranger_index(log: Log) -> None:
    """Have indexes that are sound, but of other files."""
    for part in log.parts:
        if part.index_end:
            name = index_path(DIRECTORY, part.number).name
            log.files[name] = replace(Index.decode(log.files[name]), file_id=1).encode()
            part.index_end = 0


def orphan_index(log: Log) -> None:
    """Have the index of a segment that is gone."""
    log.files[index_path(DIRECTORY, FRONT + 9).name] = b""


INDEXES: dict[str, Callable[[Log], None]] = {
    "none": lambda log: None,
    "used": lambda log: None,
    "bad": bad_index,
    "stranger": stranger_index,
    "orphan": orphan_index,
}


def checkpoints_and_indexes() -> Made:
    """With segments before the first one that were reclaimed because of a checkpoint, or without one."""
    choices = itertools.product(FIRST_WITH_OTHERS, LAST_WITH_OTHERS, (0, COVERED), CHECKPOINTS, INDEXES)
    for first, last, needed, checkpoint, index in choices:
        states = [EARLIER_STATES[first], LAST_STATES[last]]
        log = make_log(FRONT, states, needed=needed, indexed=index not in ("none", "orphan"))
        for options in CHECKPOINTS[checkpoint]:
            add_checkpoint(log, COVERED, **options)
        INDEXES[index](log)
        yield f"{first}, {last}, needs {needed}, checkpoint {checkpoint}, index {index}", log


def proofs_and_other_files() -> Made:
    """With notes of what had been on disk, spare files, and what is nothing of the journal's."""
    for last, proof, others in itertools.product(LAST_STATES, (None, 1, 3, 4), (False, True)):
        if last != "again":
            log = make_log(1, [LAST_STATES[last]])
            if proof is not None:
                add_proof(log, proof)
            if others:
                temporary = {f"{segment_path(DIRECTORY, 2).name}.tmp": b"", "checkpoint-0000000000000002.tmp": b"x"}
                log.files |= {**LITTER, **RESERVE, **temporary, "spare-0000000000000009": b"anything"}
            yield f"{last}, proof {proof}, others {others}", log


GROUPS = [three_segments, two_segments, checkpoints_and_indexes, proofs_and_other_files]


class Summaries(Replayer):
    """Notes what it is given."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def on_record(self, kind: int, sequence: int, summary: bytes, segment: Any, offset: int) -> None:
        self.records.append((kind, sequence, summary))


def look(disk: SimulatedDisk) -> tuple[list[Record], Recovery]:
    recovery = Recovery(DIRECTORY, disk)
    return [(kind, sequence, payload) for kind, sequence, payload, _ in recovery.records()], recovery


def check(log: Log) -> set[Case]:
    """Check one combination, and return the cases that were found in it."""
    expected = expect(log)
    disk = SimulatedDisk(log.files)
    check_replay(log, disk)
    try:
        records, recovery = look(disk)
    except (JournalDamaged, FormatTooNew) as error:
        refusal = Case[error.case]
    else:
        refusal = None
    assert disk.files == log.files, "looking changes nothing"
    if refusal is not None:
        assert refusal in expected.refusals
        assert refusal.action is Action.REFUSE
        return {refusal}
    assert not expected.refusals
    assert records == expected.served
    assert recovery.sequence == expected.sequence
    assert recovery.lost_count <= expected.lost_max
    found = {each.case for each in (*recovery.damages, *recovery.repairs)}
    assert bool(found & set(LOSSES)) <= expected.cut
    check_damages(log, expected, recovery)
    recovery.apply()
    found |= check_actions(log, disk, recovery)
    check_copies(log, expected, disk, recovery)
    check_next_start(disk, recovery, records)
    return found


def check_replay(log: Log, disk: SimulatedDisk) -> None:
    """From indexes, as far as there are any, a start finds the same, or what damage has not reached."""
    expected = expect(log, indexes=True)
    replayed = Summaries()
    try:
        Recovery(DIRECTORY, disk).replay(replayed)
    except (JournalDamaged, FormatTooNew) as error:
        refused = {Case[error.case]}
    else:
        refused = set()
        assert replayed.records == expected.served
    assert refused <= expected.refusals
    assert bool(refused) == bool(expected.refusals)
    assert disk.files == log.files, "looking changes nothing"


def check_damages(log: Log, expected: Expectation, recovery: Recovery) -> None:
    """What is lost is reported, with its file, and so is a header that is damaged."""
    assert all(damage.case.action is Action.SKIP for damage in recovery.damages)
    for part in log.parts:
        cases = {damage.case for damage in recovery.damages if damage.segment == part.number}
        reached = part.number <= recovery.next_number
        if part.octets is None or not reached:
            continue
        if part.header_case is not None and tellable(part):
            assert part.header_case in cases or not any(slot.sequence <= recovery.sequence for slot in part.slots)
        in_place = [slot for slot in part.slots if slot in expected.lost and slot.state is not State.ABSENT]
        if in_place:
            assert cases & {Case.RECORD_DAMAGED, Case.SEQUENCE_GAP, Case.HEADER_LOST}, in_place
        if any(slot.state is State.WHOLE for slot in part.slots) and not in_place and tellable(part):
            assert Case.HEADER_LOST not in cases


def check_actions(log: Log, disk: SimulatedDisk, recovery: Recovery) -> set[Case]:
    """Each file was treated as the table says; return the cases of those that are to be kept."""
    by_action = {
        action: {repair.path.name: repair for repair in recovery.repairs if repair.case.action is action}
        for action in Action
    }
    assert not by_action[Action.REFUSE] and not by_action[Action.SKIP]  # noqa: PT018
    gone = by_action[Action.REMOVE].keys() | by_action[Action.SPARE].keys()
    assert log.files.keys() - disk.files.keys() == gone
    for name in by_action[Action.SPARE]:
        assert disk.files[name.replace("segment", "spare")] == log.files[name]
    added = {name.partition("-")[0].partition("/")[0] for name in disk.files.keys() - log.files.keys()}
    assert added <= {"quarantine", "proof", "spare"}
    for name in log.files.keys() - gone:
        settled = by_action[Action.SETTLE].get(name)
        before, after = log.files[name], disk.files[name]
        if settled is None:
            assert before == after or (name.endswith(".index") and recovery.clean)
            continue
        assert len(after) == settled.offset
        end = len(after) - RECORD_HEADER_SIZE * (settled.case is Case.CLEAN_STOP)
        assert after[HEADER_SIZE:end] == before[HEADER_SIZE:end]
    kept = log.files.keys() - gone
    segments = [segment.number for segment in recovery.segments]
    cases = {Case.SEGMENT_COMPLETE} if len(segments) > 1 else set()
    cases |= {Case.CHECKPOINT_USED} if recovery.checkpoint is not None else set()
    cases |= {Case.SPARE} if any(name.startswith("spare-") for name in kept) else set()
    cases |= {Case.PROOF} if any(name.startswith("proof-") for name in kept) else set()
    cases |= {Case.RESERVE} if kept >= RESERVE.keys() else set()
    cases |= {Case.FOREIGN} if kept >= LITTER.keys() else set()
    cases |= {Case.INDEX_USED} if any(name.endswith(".index") for name in kept - LITTER.keys()) else set()
    return cases


def check_copies(log: Log, expected: Expectation, disk: SimulatedDisk, recovery: Recovery) -> None:
    """The octets of everything that had been on disk and is damaged are in a copy."""
    copies = [data for name, data in disk.files.items() if name.startswith("quarantine/")]
    for damage in recovery.damages:
        octets = log.files[damage.path.name][damage.offset : damage.offset + damage.size]
        assert not octets or octets in copies
    for part in log.parts:
        for slot in part.slots:
            if slot in expected.lost and slot.state in (State.HURT, State.GARBLED):
                assert part.octets is not None
                octets = part.octets[slot.begin : slot.end]
                assert any(octets in copy for copy in copies)


def check_next_start(disk: SimulatedDisk, recovery: Recovery, records: list[Record]) -> None:
    """The next start has nothing to complain of; when the log has gone on, a start serves the same and what is new."""
    again, second = look(disk)
    assert again == records
    assert second.sequence == recovery.sequence
    assert not {repair.case for repair in second.repairs} & {*LOSSES, Case.AFTER_END, Case.SEGMENT_UNUSED}
    assert not second.clean
    sequence = second.sequence
    later = SegmentMaker(second.next_number, 77, second.epoch + 1, sequence, sequence).batch([(b"new",)])
    files = disk.files
    assert later.name not in files
    further, third = look(SimulatedDisk({**files, later.name: later.bytes()}))
    assert further == [*records, (1, sequence + 1, b"new")]
    assert {damage.segment for damage in third.damages} <= {damage.segment for damage in recovery.damages}


@functools.cache
def cases_of(group: Callable[[], Made]) -> frozenset[Case]:
    """Check all combinations of a group, and return the cases that occurred."""
    found: set[Case] = set()
    for name, log in group():
        try:
            found |= check(log)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    return frozenset(found)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_every_combination(group: Callable[[], Made]) -> None:
    assert cases_of(group)


def test_every_case_occurs() -> None:
    assert set().union(*map(cases_of, GROUPS)) == set(Case)
