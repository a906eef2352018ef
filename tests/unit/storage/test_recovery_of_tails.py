"""The end of the log after a crash: exactly the whole units survive, and damage is never taken for a torn end."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.check import check as check_journal
from storage.errors import FormatTooNew, JournalDamaged
from storage.layout import HEADER_SIZE
from storage.record import SEALED
from storage.recovery import Recovery
from tests.unit.storage.simulated_disk import CommitDisk, SimulatedDisk
from tests.unit.storage.support import DIRECTORY, SMALL, Owner, SegmentMaker, names_of, recover

SYNCED = [(b"first",), (b"second", b"and third" * 9)]
UNSYNCED = [(b"", b"x" * 7), (b"y" * 61,), (b"ab", b"c" * 30, b"d" * 8), (b"last",)]


def torn_segment() -> tuple[SegmentMaker, int]:
    """Return a segment of two batches and the offset of the second, which may be torn."""
    segment = SegmentMaker().batch(SYNCED)
    start = len(segment.data)
    return segment.batch(UNSYNCED), start


def intact_units(segment: SegmentMaker, image: bytes) -> list[bytes]:
    """Say which payloads must survive: those of units before the first record that is not as it was written."""
    records = zip(segment.offsets, segment.offsets[1:], strict=False)
    intact = [image[begin:end] == segment.data[begin:end] for begin, end in records]
    survivors: list[bytes] = []
    for unit in SYNCED + UNSYNCED:
        if not all(intact[: len(unit)]):
            break
        del intact[: len(unit)]
        survivors.extend(unit)
    return survivors


def check(segment: SegmentMaker, image: bytes) -> None:
    expected = intact_units(segment, image)
    records, recovery = recover({segment.name: image})
    assert [payload for _, _, payload in records] == expected
    # The repairs must leave a journal that says the same again, and that can be written.
    disk = SimulatedDisk({segment.name: image})
    recovery = Recovery(DIRECTORY, disk)
    recovery.apply()
    assert recovery.sequence == len(expected)
    again, recovery = recover(disk.files)
    assert [payload for _, _, payload in again] == expected
    assert names_of(recovery)[-1:] == ["LOG_END"]


def test_cut_at_every_byte():
    segment, start = torn_segment()
    for cut in range(start, len(segment.data) + 1):
        check(segment, bytes(segment.data[:cut]))


def test_zeros_from_every_byte():
    segment, start = torn_segment()
    size = len(segment.data)
    for cut in range(start, size + 1):
        check(segment, bytes(segment.data[:cut]) + bytes(size - cut + 100))


def test_garbage_from_every_byte():
    segment, start = torn_segment()
    size = len(segment.data)
    chance = random.Random(384)
    for cut in range(start, size + 1):
        check(segment, bytes(segment.data[:cut]) + chance.randbytes(size - cut + 100))


def test_any_records_of_an_unsynced_batch_may_be_missing():
    segment, start = torn_segment()
    records = [(b, e) for b, e in zip(segment.offsets, segment.offsets[1:], strict=False) if b >= start]
    for missing in range(1 << len(records)):
        image = bytearray(segment.bytes())
        for index, (begin, end) in enumerate(records):
            if missing >> index & 1:
                image[begin:end] = bytes(end - begin)
        check(segment, bytes(image))


def test_a_torn_tail_is_reported_with_its_place():
    segment, start = torn_segment()
    image = bytearray(segment.bytes())
    image[start] ^= 1
    _, recovery = recover({segment.name: bytes(image)})
    assert names_of(recovery) == ["TORN_TAIL"]
    assert f"bytes cut at offset {start}" in str(recovery.repairs[0])
    assert segment.name in str(recovery.repairs[0])


def test_a_flipped_bit_in_any_byte_that_was_synced_is_found_and_named():
    segment = SegmentMaker().batch(SYNCED)
    end = len(segment.data)
    segment.batch([(b"proof",)])
    for position in range(end):
        image = bytearray(segment.bytes())
        image[position] ^= 1 << position % 8
        with pytest.raises((JournalDamaged, FormatTooNew)) as caught:
            recover({segment.name: bytes(image)})
        assert segment.name in str(caught.value)
        if position >= HEADER_SIZE:
            assert caught.value.case == "RECORD_DAMAGED"
            assert caught.value.offset == max(offset for offset in segment.offsets if offset <= position)


def test_a_later_segment_proves_that_a_record_had_been_there():
    first = SegmentMaker().batch(SYNCED)
    second = SegmentMaker(number=2, file_id=2, epoch=2, durable=first.sequence, sequence=first.sequence)
    image = bytearray(first.data)
    image[first.offsets[-2] + 40] ^= 1
    # The header of the second says it even before it has any record.
    with pytest.raises(JournalDamaged, match="RECORD_DAMAGED"):
        recover({first.name: bytes(image), second.name: second.bytes()})
    # And so do its records, in a segment whose header was prepared earlier.
    second = SegmentMaker(number=2, file_id=2, sequence=first.sequence).batch([(b"later",)])
    with pytest.raises(JournalDamaged, match="RECORD_DAMAGED"):
        recover({first.name: bytes(image), second.name: second.bytes()})


def test_a_file_whose_end_was_lost():
    first = SegmentMaker().batch(SYNCED)
    second = SegmentMaker(number=2, file_id=2, durable=first.sequence, sequence=first.sequence)
    files = {first.name: bytes(first.data[: first.offsets[-2]]), second.name: second.bytes()}
    with pytest.raises(JournalDamaged, match="END_MISSING"):
        recover(files)


def test_records_of_a_files_earlier_life_are_not_believed():
    old = SegmentMaker(file_id=1).batch([(b"old",)] * 5)
    new = SegmentMaker(file_id=2).batch([(b"new",)])
    image = bytes(new.data) + bytes(old.data[len(new.data) :])
    # The very record that would come next, were it not for the file id.
    records, recovery = recover({new.name: image})
    assert [payload for _, _, payload in records] == [b"new"]
    same_file = SegmentMaker(file_id=2, epoch=2).batch([(b"old",)] * 5)
    image = bytes(new.data) + bytes(same_file.data[len(new.data) :])
    records, recovery = recover({new.name: image})
    assert [payload for _, _, payload in records] == [b"new"]
    assert names_of(recovery) == ["STALE_TAIL"]


def test_what_was_cut_never_comes_back():
    """A crash, more writes, a clean restart, a crash, a restart: lavinmq#384 and #387 lost messages at the second."""
    segment, start = torn_segment()
    image = bytearray(segment.bytes(4096 - len(segment.data)))
    image[start] ^= 1
    files = {segment.name: bytes(image)}
    expected = [payload for unit in SYNCED for payload in unit]
    for restart in range(6):
        disk = SimulatedDisk(files)
        owner = Owner(filesystem=disk, disk=CommitDisk(disk), options=SMALL)
        journal = owner.open()
        for segment_kept in owner.recovery.segments:
            journal.retain(segment_kept)
        assert [payload for _, _, payload in owner.records] == expected
        payload = b"after restart %d" % restart
        journal.append(1, payload)
        journal.retain(journal.current)
        owner.commit()
        expected.append(payload)
        journal.abandon() if restart % 2 else journal.close()
        files = disk.files


def test_a_unit_that_goes_over_a_segments_end_is_whole_or_not_there():
    first = SegmentMaker().batch([(b"whole",)])
    begin = len(first.data)
    first.add(1, b"half", unit_ends=False)
    first.mark(240)
    second = SegmentMaker(number=2, file_id=2, sequence=first.sequence)
    second.add(1, b"other half")
    files = {first.name: first.bytes(), second.name: second.bytes()}
    records, _ = recover(files)
    assert [payload for _, _, payload in records] == [b"whole", b"half", b"other half"]
    files[second.name] = bytes(second.data[:-1])
    records, recovery = recover(files)
    assert [payload for _, _, payload in records] == [b"whole"]
    assert names_of(recovery) == ["AFTER_END", "UNIT_UNFINISHED"]
    assert recovery.repairs[-1].offset == begin
    assert recovery.sequence == 1


def test_a_payload_that_imitates_records_costs_nothing_and_proves_nothing():
    segment = SegmentMaker().batch([(b"x",)])
    fake = SegmentMaker(file_id=99, sequence=2, durable=2)
    for _ in range(50):
        fake.add(1, b"fake")
    torn = bytearray(segment.batch([(bytes(fake.data),)]).bytes())
    torn[segment.offsets[1]] ^= 1
    records, recovery = recover({segment.name: bytes(torn)})
    assert [payload for _, _, payload in records] == [b"x"]
    assert names_of(recovery) == ["TORN_TAIL"]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_happens_to_the_files_nothing_wrong_is_served(data):
    """Any change to any file: a refusal that names a file, or the records up to some unit's end, and never others."""
    first = SegmentMaker().batch(SYNCED).mark(SEALED)
    second = SegmentMaker(number=2, file_id=2, durable=2, sequence=first.sequence).batch(UNSYNCED).batch(SYNCED)
    files = {first.name: first.bytes(0), second.name: second.bytes()}
    original, _ = recover(files)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(files)))
        content = bytearray(files[name])
        begin = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(begin, len(content)))
        content[begin:end] = data.draw(st.one_of(st.just(bytes(end - begin)), st.binary(max_size=80)))
        files[name] = bytes(content)
    damage = check_journal(DIRECTORY, SimulatedDisk(files)).damage
    if damage is not None:
        assert "/journal/segment-" in damage
        return
    records, recovery = recover(files)
    assert records == original[: len(records)]
    unit_ends = itertools.accumulate(map(len, SYNCED + UNSYNCED + SYNCED), initial=0)
    assert len(records) in set(unit_ends)
    assert recovery.repairs
