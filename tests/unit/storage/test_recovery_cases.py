"""Every case of the decision table, each made once."""

import os
import struct
from collections.abc import Callable

import pytest

from storage.check import check
from storage.checksum import crc32c
from storage.errors import FormatTooNew, JournalDamaged
from storage.layout import HEADER_SIZE, CheckpointHeader, checkpoint_path
from storage.record import RECLAIMED, SEALED, STOPPED
from storage.recovery import RECLAIMED_PAYLOAD, Action, Case, Recovery
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
        header = changed(header, 8, struct.pack("<I", version))
    return {checkpoint_path(DIRECTORY, sequence).name: header + payload}


def reclaimed(first_needed: int, checkpoint_needed: int) -> SegmentMaker:
    segment = SegmentMaker(number=first_needed, sequence=10, durable=10).batch([(b"kept",)])
    return segment.mark(RECLAIMED, RECLAIMED_PAYLOAD.pack(first_needed, checkpoint_needed))


def files(*segments: SegmentMaker, **others: bytes) -> Files:
    return {segment.name: segment.bytes() for segment in segments} | others


def header(change: Callable[[bytes], bytes]) -> Files:
    return {one().name: change(one().bytes())}


def number_gap() -> Files:
    first = one().mark(SEALED)
    return files(first, after(first, 3).batch([(b"c",)]))


def sequence_gap() -> Files:
    first = one().mark(SEALED)
    second = after(first)
    second.sequence += 1
    second.durable = 0
    return files(first, second.batch([(b"d",)]))


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


REFUSED = {
    Case.HEADER_SHORT: lambda: header(lambda data: data[: HEADER_SIZE - 1]),
    Case.HEADER_MAGIC: lambda: header(lambda data: changed(data, 0, b"?")),
    Case.HEADER_CHECKSUM: lambda: header(lambda data: changed(data, 20, b"\xff")),
    Case.HEADER_NUMBER: lambda: {one().name[:-1] + "2": one().bytes()},
    Case.HEADER_NEWER: lambda: header(lambda data: changed(data, 8, struct.pack("<I", 2))),
    Case.FRONT_MISSING: lambda: files(SegmentMaker(number=2, sequence=3).batch([(b"c",)])),
    Case.NUMBER_GAP: number_gap,
    Case.SEQUENCE_GAP: sequence_gap,
    Case.END_MISSING: end_missing,
    Case.RECORD_DAMAGED: record_damaged,
    Case.CHECKPOINT_BAD: lambda: files(reclaimed(4, 9)) | checkpoint(9, damaged=True),
    Case.CHECKPOINT_MISSING: lambda: files(reclaimed(4, 9)),
    Case.CHECKPOINT_NEWER: lambda: files(one()) | checkpoint(1, version=2),
}

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
    Case.TEMPORARY: lambda: files(one()) | {"segment-0000000000000002.tmp": b""},
}

KEPT = {
    Case.SEGMENT_COMPLETE: unused,
    Case.CHECKPOINT_USED: lambda: files(one()) | checkpoint(1) | checkpoint(2),
    Case.SPARE: lambda: files(one()) | {"spare-0000000000000007": b"anything"},
    Case.FOREIGN: lambda: files(one()) | {"segment-1": b"", "README": b"", "x.tmp": b""},
}


def test_the_tables_here_hold_every_case():
    for action, table in [(Action.REFUSE, REFUSED), (Action.KEEP, KEPT)]:
        assert set(table) == {case for case in Case if case.action is action}
    assert set(REPAIRED) == set(Case) - set(REFUSED) - set(KEPT)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused(case):
    found = REFUSED[case]()
    disk = SimulatedDisk(found)
    with pytest.raises((JournalDamaged, FormatTooNew), match=rf"^/journal/.*\({case.name}\)$"):
        Recovery(DIRECTORY, disk).apply()
    assert disk.files == found
    assert case.name in check(DIRECTORY, disk).damage


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
        kept = case in (Case.SPARE, Case.FOREIGN) or (name.endswith("2") and name.startswith("checkpoint"))
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
