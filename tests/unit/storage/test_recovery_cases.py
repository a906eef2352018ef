"""Every case of the decision table, each made once."""

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.cases import WITH_REPAIR, Action, Case
from storage.check import check
from storage.checksum import crc32c
from storage.errors import FormatTooNew, JournalDamaged
from storage.index import write_index
from storage.layout import HEADER_SIZE, CheckpointHeader, checkpoint_path
from storage.record import RECLAIMED, SEALED, STOPPED
from storage.recovery import RECLAIMED_PAYLOAD, Recovery, reclaimed_payload
from storage.replayer import Replayer
from tests.unit.storage.simulated_disk import SimulatedDisk
from tests.unit.storage.support import DIRECTORY, Owner, SegmentMaker, names_of, recover

Files = dict[str, bytes]


def one() -> SegmentMaker:
    return SegmentMaker().batch([(b"a",), (b"b",)])


def after(first: SegmentMaker, number: int = 2) -> SegmentMaker:
    return SegmentMaker(number=number, file_id=number, durable=first.durable, sequence=first.sequence)


def changed(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def checkpoint(sequence: int, damaged: bool = False, version: int | None = None) -> Files:
    payload = b"state as of %d" % sequence
    header = CheckpointHeader(sequence, len(payload), 1, 0, crc32c(payload) ^ damaged).encode()
    if version is not None:
        header = with_version(header, version)
    return {checkpoint_path(DIRECTORY, sequence).name: header + payload}


def reclaimed(first_needed: int, checkpoint_needed: int) -> SegmentMaker:
    segment = SegmentMaker(number=first_needed, sequence=10, durable=10).batch([(b"kept",)])
    return segment.mark(RECLAIMED, RECLAIMED_PAYLOAD.pack(first_needed, checkpoint_needed))


def files(*segments: SegmentMaker, **others: bytes) -> Files:
    return {segment.name: segment.bytes() for segment in segments} | others


def header(change: Callable[[bytes], bytes]) -> Files:
    return {one().name: change(one().bytes())}


def with_version(data: bytes, version: int) -> bytes:
    """Return a file with another version in its header, which is sound."""
    fields = changed(data[: HEADER_SIZE - 4], 8, struct.pack("<I", version))
    return fields + struct.pack("<I", crc32c(fields)) + data[HEADER_SIZE:]


def number_gap() -> Files:
    first = one().mark(SEALED)
    return files(first, after(first, 3).batch([(b"c",)]))


def sequence_gap() -> Files:
    first = one().mark(SEALED)
    second = after(first)
    second.sequence += 1
    second.durable = 0
    return files(first, second.batch([(b"d",)]))


def sequence_repeated() -> Files:
    first = one().mark(SEALED)
    second = after(first)
    second.sequence -= 2
    second.durable = 0
    return files(first, second.batch([(b"again",)]))


def header_lost() -> Files:
    first = one().mark(SEALED)
    second = after(first).batch([(b"lost",)])
    third = after(second, 3).batch([(b"c",)])
    return files(first, third) | {second.name: os.urandom(100)}


def front_unproved() -> Files:
    """The mark that says that the front was reclaimed is itself what is damaged."""
    segment = SegmentMaker(number=2, sequence=10, durable=10).batch([(b"a",), (b"b",)])
    place = len(segment.data) + 8
    segment.mark(RECLAIMED, RECLAIMED_PAYLOAD.pack(2, 0)).batch([(b"c",)])
    third = SegmentMaker(number=3, file_id=3, durable=segment.sequence, sequence=segment.sequence)
    return {segment.name: changed(segment.bytes(), place, b"\xff"), third.name: third.bytes()}


@pytest.mark.parametrize("older", [True, False], ids=["older one", "none"])
def test_a_damaged_checkpoint_is_not_done_without_where_segments_may_have_gone_because_of_it(older):
    found = front_unproved() | checkpoint(9, damaged=True) | (checkpoint(4) if older else {})
    with pytest.raises(JournalDamaged, match="CHECKPOINT_BAD"):
        Recovery(DIRECTORY, SimulatedDisk(found)).apply()
    _, recovery = recover(front_unproved() | checkpoint(9))
    assert [damage.case for damage in recovery.damages] == [Case.RECORD_DAMAGED, Case.FRONT_UNPROVED]


def gap_unproved() -> Files:
    """The mark that says that a segment in between was reclaimed is itself what is damaged."""
    first = one().mark(SEALED)
    third = after(first, 3).batch([(b"c",)])
    place = len(third.data) + 8
    third.mark(RECLAIMED, reclaimed_payload([1, 3], 0)).batch([(b"d",)])
    return {first.name: first.bytes(), third.name: changed(third.bytes(), place, b"\xff")}


def test_segments_between_two_others_may_be_gone_if_the_last_mark_says_so():
    first = one().mark(SEALED)
    third = after(first, 5)
    third.sequence += 7
    third.mark(RECLAIMED, reclaimed_payload([1, 5], 0)).batch([(b"d",)])
    recovery = Recovery(DIRECTORY, SimulatedDisk(files(first, third)))
    assert [(sequence, payload) for _, sequence, payload, _ in recovery.records()] == [
        (1, b"a"), (2, b"b"), (third.sequence, b"d"),
    ]  # fmt: skip
    assert not recovery.damages
    assert [segment.number for segment in recovery.segments] == [1, 5]
    third = after(first, 5).mark(RECLAIMED, reclaimed_payload([1, 3, 5], 0)).batch([(b"d",)])
    with pytest.raises(JournalDamaged, match="NUMBER_GAP"):
        list(Recovery(DIRECTORY, SimulatedDisk(files(first, third))).records())


def end_missing() -> Files:
    first = one()
    return {first.name: bytes(first.data), **checkpoint(5)}


def record_damaged() -> Files:
    segment = one()
    place = segment.offsets[1] + 33
    return {segment.name: changed(segment.batch([(b"proof",)]).bytes(), place, b"\xff")}


def unit_unfinished() -> Files:
    segment = one()
    segment.add(1, b"half", unit_ends=False)
    return files(segment)


def stale_tail() -> Files:
    return {one().name: bytes(one().data) + os.urandom(100)}


def torn_tail() -> Files:
    return {one().name: bytes(one().data[:-8])}


def unused() -> Files:
    first = one().mark(SEALED)
    return files(first, after(first))


def indexed() -> Files:
    sealed = one().mark(SEALED)
    disk = SimulatedDisk(files(sealed))
    write_index(disk, DIRECTORY, 1, len(sealed.data), Replayer())
    return dict(disk.files)


REFUSED = {
    Case.HEADER_NUMBER: lambda: {one().name[:-1] + "2": one().bytes()},
    Case.HEADER_NEWER: lambda: header(lambda data: with_version(data, 2)),
    Case.FRONT_MISSING: lambda: files(SegmentMaker(number=2, sequence=3).batch([(b"c",)])),
    Case.NUMBER_GAP: number_gap,
    Case.SEQUENCE_REPEATED: sequence_repeated,
    Case.END_MISSING: end_missing,
    Case.CHECKPOINT_BAD: lambda: files(reclaimed(4, 9)) | checkpoint(9, damaged=True),
    Case.CHECKPOINT_MISSING: lambda: files(reclaimed(4, 9)),
    Case.CHECKPOINT_NEWER: lambda: files(one()) | checkpoint(1, version=2),
}

SKIPPED: dict[Case, tuple[Callable[[], Files], list[bytes], int]] = {
    Case.HEADER_SHORT: (lambda: header(lambda data: data[: HEADER_SIZE - 1]), [], 0),
    Case.HEADER_MAGIC: (lambda: header(lambda data: changed(data, 0, b"?")), [b"a", b"b"], 0),
    Case.HEADER_CHECKSUM: (lambda: header(lambda data: changed(data, 20, b"\xff")), [b"a", b"b"], 0),
    Case.HEADER_LOST: (header_lost, [b"a", b"b", b"c"], 1),
    Case.FRONT_UNPROVED: (front_unproved, [b"a", b"b", b"c"], 1),
    Case.GAP_UNPROVED: (gap_unproved, [b"a", b"b", b"c", b"d"], 1),
    Case.SEQUENCE_GAP: (sequence_gap, [b"a", b"b", b"d"], 1),
    Case.RECORD_DAMAGED: (record_damaged, [b"a", b"proof"], 1),
}
"""For each case an example, the payloads that are left, and how many records are known to be lost."""

REPAIRED = {
    Case.SEGMENT_UNUSED: unused,
    Case.CLEAN_STOP: lambda: files(one().mark(STOPPED)),
    Case.LOG_END: lambda: files(one()),
    Case.STALE_TAIL: stale_tail,
    Case.TORN_TAIL: torn_tail,
    Case.UNIT_UNFINISHED: unit_unfinished,
    Case.AFTER_END: lambda: files(one(), after(one())),
    Case.CHECKPOINT_OLD: lambda: files(one()) | checkpoint(1) | checkpoint(2),
    Case.CHECKPOINT_BAD_UNUSED: lambda: files(one()) | checkpoint(1) | checkpoint(2, damaged=True),
    Case.PROOF_OLD: lambda: files(one()) | checkpoint(1) | {"proof-0000000000000001": b""},
    Case.INDEX_BAD: lambda: files(one()) | {one().name + ".index": b"HAYINDEX"},
    Case.INDEX_ORPHAN: lambda: files(one()) | {"segment-0000000000000007.index": b""},
    Case.TEMPORARY: lambda: files(one()) | {"segment-0000000000000002.tmp": b""},
}

KEPT = {
    Case.SEGMENT_COMPLETE: unused,
    Case.CHECKPOINT_USED: lambda: files(one()) | checkpoint(1) | checkpoint(2),
    Case.INDEX_USED: indexed,
    Case.PROOF: lambda: {one().name: bytes(one().data) + bytes(32), "proof-0000000000000003": b""},
    Case.SPARE: lambda: files(one()) | {"spare-0000000000000007": b"anything"},
    Case.RESERVE: lambda: files(one()) | {"reserve-segment": b"", "reserve-checkpoint": b"anything"},
    Case.FOREIGN: lambda: files(one()) | {"segment-1": b"", "README": b"", "x.tmp": b""},
}


def test_the_tables_here_hold_every_case():
    for action, table in [(Action.REFUSE, REFUSED), (Action.KEEP, KEPT)]:
        assert set(table) == {case for case in Case if case.action is action}
    assert set(SKIPPED) == {case for case in Case if case.action is Action.SKIP}
    assert set(REPAIRED) == set(Case) - set(REFUSED) - set(KEPT) - set(SKIPPED)
    assert set(WITH_REPAIR) == set(REFUSED) - {Case.HEADER_NEWER, Case.CHECKPOINT_NEWER}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused(case):
    found = REFUSED[case]()
    disk = SimulatedDisk(found)
    with pytest.raises((JournalDamaged, FormatTooNew), match=rf"^/journal/.*\({case.name}\)$"):
        Recovery(DIRECTORY, disk).apply()
    assert disk.files == found
    assert case.name in check(DIRECTORY, disk).damage


@pytest.mark.parametrize("needed", [True, False])
def test_a_checkpoint_that_cannot_be_read_is_a_damaged_one(needed):
    class Unreadable(SimulatedDisk):
        def read(self, path: Path, size_max: int = -1) -> bytes:
            if path.name.startswith("checkpoint"):
                raise OSError(errno.EIO, "no")
            return super().read(path, size_max)

        def read_from_disk(self, path: Path, offset: int, size: int) -> bytes:
            return self.read(path)

    disk = Unreadable(files(reclaimed(4, 3) if needed else one()) | checkpoint(3 if needed else 2))
    if needed:
        with pytest.raises(JournalDamaged, match="CHECKPOINT_BAD"):
            Recovery(DIRECTORY, disk).apply()
    else:
        recovery = Recovery(DIRECTORY, disk)
        assert [payload for _, _, payload, _ in recovery.records()] == [b"a", b"b"]
        assert "CHECKPOINT_BAD_UNUSED" in names_of(recovery)


@pytest.mark.parametrize("case", SKIPPED, ids=lambda case: case.name)
def test_skipped(case):
    make, expected, lost_count = SKIPPED[case]
    found = make()
    disk = SimulatedDisk(found)
    recovery = Recovery(DIRECTORY, disk)
    records = [(kind, sequence, payload) for kind, sequence, payload, _ in recovery.records()]
    assert disk.files == found  # looking changes nothing
    assert [payload for _, _, payload in records] == expected
    damage = next((each for each in recovery.damages if each.case is case), recovery.damages[0])
    assert damage.case is case
    assert recovery.lost_count == lost_count
    recovery.apply()
    kept = [disk.files[name] for name in sorted(disk.files) if name.startswith("quarantine/")]
    assert kept == [found[each.path.name][each.offset :][: each.size] for each in recovery.damages if each.size]
    # What is damaged stays where it is, and every later start finds the same, but for a header that is written again.
    again, second = recover(disk.files)
    assert again == records
    if found.keys() <= disk.files.keys():
        assert [(each.case, each.offset, each.count) for each in second.damages] == [
            (each.case, each.offset, each.count)
            for each in recovery.damages
            if each.case not in (Case.HEADER_MAGIC, Case.HEADER_CHECKSUM)
        ]
    Recovery(DIRECTORY, disk).apply()
    assert [disk.files[name] for name in sorted(disk.files) if name.startswith("quarantine/")] == kept


@pytest.mark.parametrize("case", SKIPPED, ids=lambda case: case.name)
def test_quarantining_can_be_interrupted_anywhere(case):
    found = SKIPPED[case][0]()
    expected, whole = recover(found)
    copies = [found[each.path.name][each.offset :][: each.size] for each in whole.damages if each.size]
    for crash_at in range(1, 60):
        disk = SimulatedDisk(found, crash_at)
        try:
            Recovery(DIRECTORY, disk).apply()
        except OSError:
            records, _ = recover(disk.files)
            assert records == expected
            disk.crash_at = None
            Recovery(DIRECTORY, disk).apply()
            kept = {disk.files[name] for name in disk.files if name.startswith("quarantine/")}
            assert set(copies) <= kept
        else:
            assert disk.operation_count < crash_at
            break


@pytest.mark.parametrize("case", REPAIRED, ids=lambda case: case.name)
def test_repaired(case):
    found = REPAIRED[case]()
    disk = SimulatedDisk(found)
    report = check(DIRECTORY, disk)
    assert report.damage is None
    assert any(line.startswith(case.name) for line in report.repairs)
    assert disk.files == found  # looking changes nothing
    records, recovery = recover(found)
    assert case.name in names_of(recovery)
    expected = [b"a"] if case is Case.TORN_TAIL else [b"a", b"b"]
    assert [payload for _, _, payload in records] == expected
    # After the repairs there is nothing left to repair but the end of the log, which is looked after each time.
    Recovery(DIRECTORY, disk).apply()
    again, recovery = recover(disk.files)
    assert again == records
    assert names_of(recovery) in (["LOG_END"], ["CLEAN_STOP"])
    assert recovery.repairs[0].lost_size == 0


@pytest.mark.parametrize("case", REPAIRED, ids=lambda case: case.name)
def test_repairs_can_be_interrupted_anywhere(case):
    found = REPAIRED[case]()
    expected, _ = recover(found)
    for crash_at in range(1, 30):
        disk = SimulatedDisk(found, crash_at)
        try:
            Recovery(DIRECTORY, disk).apply()
        except OSError:
            records, _ = recover(disk.files)
            assert records == expected
        else:
            assert disk.operation_count < crash_at
            break


@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.name)
def test_kept(case):
    found = KEPT[case]()
    disk = SimulatedDisk(found)
    recovery = Recovery(DIRECTORY, disk)
    recovery.apply()
    assert [payload for _, _, payload in recover(found)[0]] == [b"a", b"b"]
    if case is Case.CHECKPOINT_USED:
        assert recovery.checkpoint.payload == b"state as of 2"
    for name in set(found) - {one().name}:
        kept = case in (Case.SPARE, Case.RESERVE, Case.FOREIGN, Case.PROOF, Case.INDEX_USED) or (
            name.endswith("2") and name.startswith("checkpoint")
        )
        assert (name in disk.files) == kept
    assert (recovery.spares != []) == (case in (Case.SPARE, Case.SEGMENT_COMPLETE))


def test_no_journal_at_all():
    for found in ({}, {"spare-0000000000000001": bytes(4096)}):
        records, recovery = recover(found)
        assert records == []
        assert recovery.repairs == []
        assert (recovery.sequence, recovery.epoch, recovery.next_number) == (0, 0, 1)


def test_state_records_that_a_checkpoint_covers_are_left_out():
    segment = SegmentMaker()
    for kind in (1, 128, 239, 128):
        segment.add(kind, b"%d" % kind)
    segment.durable = segment.sequence
    records, recovery = recover(files(segment) | checkpoint(3))
    assert [(kind, sequence) for kind, sequence, _ in records] == [(1, 1), (128, 4)]
    assert recovery.checkpoint.sequence == 3


def test_a_log_whose_front_was_reclaimed():
    records, recovery = recover(files(reclaimed(4, 9)) | checkpoint(9))
    assert [payload for _, _, payload in records] == [b"kept"]
    assert recovery.next_number == 5


def test_the_epoch_goes_up_with_every_opening(tmp_path):
    for epoch in range(1, 4):
        owner = Owner(tmp_path)
        journal = owner.open()
        for segment in owner.recovery.segments:
            journal.retain(segment)
        journal.append(1, b"x")
        journal.retain(journal.current)
        owner.commit()
        journal.abandon()
        recovery = Recovery(tmp_path)
        assert len(list(recovery.records())) == epoch
        assert recovery.epoch == epoch
