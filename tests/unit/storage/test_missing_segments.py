"""What excuses a segment that is missing, and what becomes of files that do not tell what was in them."""

import pytest

from storage.cases import Case
from storage.errors import JournalDamaged
from storage.layout import HEADER_SIZE
from storage.record import RECLAIMED, SEALED
from storage.recovery import Recovery, reclaimed_payload
from tests.unit.storage.simulated_disk import SimulatedDisk
from tests.unit.storage.support import DIRECTORY, SegmentMaker, recover

PAYLOAD_AT = 32


def segment_after(first: SegmentMaker, number: int, skipped: int = 0) -> SegmentMaker:
    sequence = first.sequence + skipped
    return SegmentMaker(number=number, file_id=number, durable=first.durable, sequence=sequence)


def changed(segment: SegmentMaker, offset: int) -> bytes:
    image = bytearray(segment.bytes())
    image[offset] ^= 1
    return bytes(image)


def test_a_damaged_header_does_not_excuse_a_missing_segment():
    """Its records are all there, so none of them was a mark that lets the segment go."""
    first = SegmentMaker().batch([(b"a",), (b"b",)]).mark(SEALED)
    third = segment_after(first, 3, skipped=2).batch([(b"c",), (b"d",)])
    with pytest.raises(JournalDamaged, match="NUMBER_GAP"):
        recover({first.name: first.bytes(), third.name: changed(third, 20)})
    with pytest.raises(JournalDamaged, match="FRONT_MISSING"):
        recover({third.name: changed(third, 20)})


def test_damage_before_a_missing_segment_does_not_excuse_it():
    first = SegmentMaker().batch([(b"a",), (b"b",), (b"c",)]).mark(SEALED)
    third = segment_after(first, 3, skipped=2).batch([(b"d",)])
    with pytest.raises(JournalDamaged, match="NUMBER_GAP"):
        recover({first.name: changed(first, first.offsets[1] + 8), third.name: third.bytes()})


def test_damage_before_a_mark_does_not_excuse_what_the_mark_does_not_let_go():
    """A mark repeats what is still true of those before it."""
    first = SegmentMaker().batch([(b"a",)]).mark(SEALED)
    third = segment_after(first, 3, skipped=2).batch([(b"b",), (b"c",), (b"d",)])
    damaged_at = third.offsets[1] + 8
    third.mark(RECLAIMED, reclaimed_payload([1, 2, 3], 0)).batch([(b"e",)])
    with pytest.raises(JournalDamaged, match="NUMBER_GAP"):
        recover({first.name: first.bytes(), third.name: changed(third, damaged_at)})


def test_the_kind_of_a_record_says_nothing_of_those_that_are_missing_before_it():
    """A mark may have been among them."""
    second = SegmentMaker(number=2, sequence=10, durable=10).batch([(b"a",), (b"b",)])
    third = segment_after(second, 3, skipped=1).batch([(b"c",), (b"d",)]).batch([(b"e",)])
    files = {second.name: bytes(second.data), third.name: changed(third, third.offsets[0] + PAYLOAD_AT)}
    records, recovery = recover(files)
    assert [payload for _, _, payload in records] == [b"a", b"b", b"d", b"e"]
    assert [damage.case for damage in recovery.damages] == [Case.RECORD_DAMAGED, Case.FRONT_UNPROVED]
    assert (recovery.damages[0].count, recovery.damages[0].kind) == (2, None)


@pytest.mark.parametrize("size", [0, HEADER_SIZE - 1, HEADER_SIZE])
def test_a_file_that_ends_within_its_header_stays_where_it_was(size: int):
    """It was taken for one that had never been used, and the next start refused what this one had gone on without."""
    second = SegmentMaker(number=2, sequence=10, durable=10).batch([(b"a",), (b"b",)])
    third = segment_after(second, 3)
    disk = SimulatedDisk({second.name: second.bytes(0), third.name: bytes(size)})
    for _ in range(3):
        recovery = Recovery(DIRECTORY, disk)
        assert [payload for _, _, payload, _ in recovery.records()] == [b"a", b"b"]
        case = Case.HEADER_LOST if size == HEADER_SIZE else Case.HEADER_SHORT
        assert [damage.case for damage in recovery.damages] == [case, Case.FRONT_UNPROVED]
        assert recovery.next_number == 4
        recovery.apply()
        assert disk.files[third.name] == bytes(size)


def test_records_of_segments_that_were_reclaimed_do_not_count_as_lost():
    second = SegmentMaker(number=5, sequence=100, durable=100).batch([(b"a",), (b"b",)])
    third = segment_after(second, 6).batch([(b"c",), (b"d",)]).batch([(b"e",)])
    _, recovery = recover({second.name: bytes(500), third.name: changed(third, third.offsets[0] + PAYLOAD_AT)})
    assert [damage.case for damage in recovery.damages][:2] == [Case.HEADER_LOST, Case.RECORD_DAMAGED]
    assert recovery.lost_count <= 3


def test_all_files_at_the_end_in_which_nothing_stands_are_spare():
    first = SegmentMaker().batch([(b"a",), (b"b",)]).mark(SEALED)
    second, third = segment_after(first, 2), segment_after(first, 3)
    disk = SimulatedDisk({first.name: bytes(first.data), second.name: second.bytes(0), third.name: third.bytes()})
    recovery = Recovery(DIRECTORY, disk)
    recovery.apply()
    assert sorted(disk.files) == [first.name, "spare-0000000000000002", "spare-0000000000000003"]
    assert recovery.next_number == 2
