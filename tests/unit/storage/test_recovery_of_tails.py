"""The end of the log after a crash: exactly the whole units survive, and damage, never taken for a torn
end, costs itself."""

import errno
import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.cases import Case
from storage.check import check as check_journal
from storage.damage import UNREADABLE_SIZE
from storage.errors import JournalDamaged
from storage.layout import HEADER_SIZE, SegmentHeader, proof_path
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


def test_a_flipped_bit_in_any_byte_that_was_synced_costs_one_record_at_most():
    segment = SegmentMaker().batch(SYNCED)
    end = len(segment.data)
    segment.batch([(b"proof",)])
    whole, _ = recover({segment.name: segment.bytes()})
    for position in range(end):
        image = bytearray(segment.bytes())
        image[position] ^= 1 << position % 8
        records, recovery = recover({segment.name: bytes(image)})
        (damage,) = recovery.damages
        if position < HEADER_SIZE:
            assert records == whole
            assert damage.case in (Case.HEADER_MAGIC, Case.HEADER_CHECKSUM)
            continue
        hit = next(index for index, offset in enumerate(segment.offsets[1:]) if position < offset)
        assert records == whole[:hit] + whole[hit + 1 :]
        assert damage.case is Case.RECORD_DAMAGED
        assert (damage.offset, damage.size) == (
            segment.offsets[hit],
            segment.offsets[hit + 1] - segment.offsets[hit],
        )
        assert (damage.sequence, damage.count) == (hit + 1, 1)


def test_two_flipped_bits_cost_two_records_at_most():
    segment = SegmentMaker().batch(SYNCED)
    end = len(segment.data)
    segment.batch([(b"proof",)])
    whole, _ = recover({segment.name: segment.bytes()})
    chance = random.Random(7549)
    for _ in range(500):
        image = bytearray(segment.bytes())
        positions = [chance.randrange(HEADER_SIZE, end) for _ in range(2)]
        for position in positions:
            image[position] ^= 1 << chance.randrange(8)
        if bytes(image) == segment.bytes():
            continue
        hits = {max(index for index, offset in enumerate(segment.offsets) if offset <= each) for each in positions}
        records, recovery = recover({segment.name: bytes(image)})
        assert set(whole) - set(records) <= {whole[hit] for hit in hits}
        assert recovery.lost_count == len(whole) - len(records)


def test_what_is_left_of_a_unit_is_kept_wherever_it_is_damaged():
    unit = (b"one", b"two", b"three", b"four")
    segment = SegmentMaker().batch([(b"before",), unit, (b"after",)]).batch([(b"proof",)])
    everything = [b"before", *unit, b"after", b"proof"]
    for hit in range(1, 5):
        for size_is_known in (True, False):
            image = bytearray(segment.bytes())
            image[segment.offsets[hit] + (33 if size_is_known else 5)] ^= 1
            records, recovery = recover({segment.name: bytes(image)})
            assert [payload for _, _, payload in records] == everything[:hit] + everything[hit + 1 :]
            assert recovery.sequence == segment.sequence
            assert recovery.damages[0].kind == (1 if size_is_known else None)


def test_a_later_segment_proves_that_a_record_had_been_there():
    first = SegmentMaker().batch(SYNCED)
    second = SegmentMaker(number=2, file_id=2, epoch=2, durable=first.sequence, sequence=first.sequence)
    image = bytearray(first.data)
    image[first.offsets[-2] + 40] ^= 1
    # The header of the second says it even before it has any record.
    _, recovery = recover({first.name: bytes(image), second.name: second.bytes()})
    assert (recovery.damages[0].case, recovery.damages[0].count) == (Case.RECORD_DAMAGED, 1)
    assert recovery.sequence == first.sequence
    # And so do its records, in a segment whose header was prepared earlier.
    second = SegmentMaker(number=2, file_id=2, sequence=first.sequence).batch([(b"later",)])
    records, recovery = recover({first.name: bytes(image), second.name: second.bytes()})
    assert (recovery.damages[0].case, recovery.damages[0].count) == (Case.RECORD_DAMAGED, 1)
    assert records[-1][2] == b"later"
    # Also where the damage hides how far it goes.
    image[first.offsets[-3] + 4 : first.offsets[-3] + 20] = bytes(16)
    image[first.offsets[-2] + 4 : first.offsets[-2] + 20] = bytes(16)
    records, recovery = recover({first.name: bytes(image), second.name: second.bytes()})
    assert [payload for _, _, payload in records] == [b"first", b"later"]
    assert [(each.sequence, each.count) for each in recovery.damages] == [(2, 2)]


def test_a_damaged_header_is_done_without_also_when_the_first_record_is_damaged():
    segment = SegmentMaker().batch(SYNCED).batch([(b"proof",)])
    image = bytearray(segment.bytes())
    image[:HEADER_SIZE] = bytes(HEADER_SIZE)
    image[segment.offsets[0] : segment.offsets[1]] = b"\xff" * (segment.offsets[1] - segment.offsets[0])
    records, recovery = recover({segment.name: bytes(image)})
    assert [payload for _, _, payload in records] == [b"second", b"and third" * 9, b"proof"]
    assert [each.case for each in recovery.damages] == [Case.HEADER_MAGIC, Case.RECORD_DAMAGED]


def test_a_header_is_written_again_before_the_records_that_told_it_are_cut():
    """Else the next start would not know any more what this one has served."""
    segment = SegmentMaker().batch([(b"served",)]).batch([(b"torn",), (b"rest", b"of it")])
    image = bytearray(segment.bytes())
    image[:HEADER_SIZE] = bytes(HEADER_SIZE)
    image[segment.offsets[1]] ^= 1
    records, recovery = recover({segment.name: bytes(image)})
    assert [payload for _, _, payload in records] == [b"served"]
    assert [each.case for each in recovery.damages] == [Case.HEADER_MAGIC]
    assert names_of(recovery) == ["TORN_TAIL"]
    disk = SimulatedDisk({segment.name: bytes(image)})
    Recovery(DIRECTORY, disk).apply()
    assert disk.files[segment.name][HEADER_SIZE:] == bytes(image[HEADER_SIZE : segment.offsets[1]])
    again, recovery = recover(disk.files)
    assert (again, recovery.damages) == (records, [])


def test_what_had_proved_a_damaged_stretch_is_not_needed_again():
    """The end of a unit is in it, and the segment that proved it can be read no more and goes."""
    first = SegmentMaker().batch([(b"a",), (b"b", b"c")]).mark(SEALED)
    second = SegmentMaker(number=2, file_id=2, durable=2, sequence=first.sequence).batch([(b"d",), (b"e",), (b"f",)])
    damaged, later = bytearray(first.bytes(0)), bytearray(second.bytes())
    del damaged[first.offsets[2]]
    later[:HEADER_SIZE] = bytes(HEADER_SIZE)
    later[second.offsets[0] + 4] ^= 1
    disk = SimulatedDisk({first.name: bytes(damaged), second.name: bytes(later)})
    served, found = recover(disk.files)
    for _ in range(3):
        Recovery(DIRECTORY, disk).apply()
        again, recovery = recover(disk.files)
        assert again == served
        assert recovery.damages[0] == found.damages[0]


@given(st.integers(0, 2**32 - 1))
def test_a_header_can_be_made_for_any_seed(seed):
    header = SegmentHeader.with_seed(seed, 3, 5)
    assert SegmentHeader.decode(header.encode()).seed == seed
    assert (header.number, header.epoch, header.durable) == (3, 5, 0)


def test_a_damaged_header_of_a_segment_with_one_record_leaves_nothing_that_can_be_believed():
    """A record alone tells a seed, but not whether it is damaged itself."""
    segment = SegmentMaker().batch([(b"alone",)])
    whole = segment.bytes()
    for position in range(HEADER_SIZE - 1, len(segment.data)):
        image = bytearray(bytes(HEADER_SIZE) + whole[HEADER_SIZE:])
        image[position] ^= 1
        records, recovery = recover({segment.name: bytes(image)})
        assert records == []
        assert [each.case for each in recovery.damages] == [Case.HEADER_LOST]


def test_a_payload_that_imitates_records_does_not_stand_in_for_a_header():
    fake = SegmentMaker(file_id=99, sequence=1, durable=1)
    for _ in range(50):
        fake.add(1, b"fake")
    alone = SegmentMaker().batch([(bytes(fake.data[HEADER_SIZE:]),)])
    records, _ = recover({alone.name: bytes(HEADER_SIZE) + alone.bytes()[HEADER_SIZE:]})
    assert records == []
    # Nor if the record around it is damaged, and others are not.
    segment = SegmentMaker().batch([(bytes(fake.data[HEADER_SIZE:]),), (b"a",), (b"b",)])
    image = bytearray(bytes(HEADER_SIZE) + segment.bytes()[HEADER_SIZE:])
    image[HEADER_SIZE + 8] ^= 2
    assert recover({segment.name: bytes(image)})[0] == []
    segment = SegmentMaker().batch([(b"a",), (b"b",), (bytes(fake.data[HEADER_SIZE:]),), (b"c",)])
    image = bytes(HEADER_SIZE) + segment.bytes()[HEADER_SIZE:]
    assert len(recover({segment.name: image})[0]) == 4


def test_a_damaged_header_does_not_wake_the_records_of_an_earlier_life():
    first = SegmentMaker(file_id=5).batch([(b"x",)] * 6).mark(SEALED)
    second = SegmentMaker(number=2, file_id=6, durable=first.sequence, sequence=first.sequence)
    old = SegmentMaker(number=1, file_id=4).batch([(b"old",)] * 5)
    image = bytes(HEADER_SIZE) + bytes(old.data[HEADER_SIZE:])
    records, recovery = recover({first.name: bytes(first.data), second.name: image})
    assert [payload for _, _, payload in records] == [b"x"] * 6
    assert [each.case for each in recovery.damages] == [Case.HEADER_LOST]


def test_what_damage_in_several_segments_has_cost_is_counted_from_where_it_begins():
    first = SegmentMaker().batch([(b"x",)] * 6).mark(SEALED)
    last = SegmentMaker(number=3, file_id=3, durable=first.sequence, sequence=first.sequence)
    files = {first.name: bytes(first.data), f"{first.name[:-1]}2": bytes(500), last.name: last.bytes()}
    files[proof_path(DIRECTORY, first.sequence + 5).name] = b""
    _, recovery = recover(files)
    found = [(each.case, each.sequence, each.count) for each in recovery.damages]
    assert found == [(Case.HEADER_LOST, first.sequence + 1, 5), (Case.RECORD_DAMAGED, 0, 0)]


@pytest.mark.parametrize("header_too", [False, True])
def test_what_is_lost_is_counted_where_the_next_segment_begins_with_damage_as_well(header_too):
    first = SegmentMaker().batch([(b"a",), (b"b",), (b"c",), (b"d",)]).mark(SEALED)
    last = SegmentMaker(number=2, file_id=2, durable=first.sequence, sequence=first.sequence)
    last.batch([(b"payload",), (b"e",)]).batch([(b"proof",)])
    images = bytearray(first.data), bytearray(last.bytes())
    images[0][first.offsets[2] :] = bytes(len(first.data) - first.offsets[2])
    images[1][last.offsets[1] - 8] ^= 1
    if header_too:
        images[1][last.offsets[0] + 8] ^= 1
    records, recovery = recover({first.name: bytes(images[0]), last.name: bytes(images[1])})
    assert [payload for _, _, payload in records] == [b"a", b"b", b"e", b"proof"]
    found = [(each.segment, each.sequence, each.count) for each in recovery.damages]
    assert found == ([(1, 3, 4), (2, 0, 0)] if header_too else [(1, 3, 3), (2, 6, 1)])


def test_behind_a_damaged_segment_in_which_nothing_stood_it_is_known_again_how_many_records_there_were():
    """Damage in the next segment was then taken for a torn batch, and what had been confirmed behind it was cut."""
    first = SegmentMaker().batch([(b"x",)] * 6).mark(SEALED)
    last = SegmentMaker(number=3, file_id=3, durable=first.sequence, sequence=first.sequence)
    last.batch([(b"a", b"b", b"c"), (b"d",), (b"e",)]).batch([(b"f",), (b"g",)])
    image = bytearray(last.bytes())
    # Of the first batch a block is gone that holds some records and the beginning of the next one.
    image[last.offsets[1] : last.offsets[4] + 8] = bytes(last.offsets[4] + 8 - last.offsets[1])
    empty = f"{first.name[:-1]}2"
    records, recovery = recover({first.name: bytes(first.data), empty: bytes(500), last.name: bytes(image)})
    assert [payload for _, _, payload in records][6:] == [b"a", b"f", b"g"]
    found = [(each.case, each.sequence, each.count) for each in recovery.damages]
    assert found == [(Case.HEADER_LOST, 0, 0), (Case.RECORD_DAMAGED, first.sequence + 2, 4)]
    assert recovery.sequence == last.sequence


def test_a_torn_batch_proves_what_had_stood_in_the_damaged_segment_before():
    """The numbers of what had been confirmed there were given to other records, and some were not counted as lost."""
    first = SegmentMaker().batch([(b"a",)]).batch([(b"b",)]).mark(SEALED)
    last = SegmentMaker(number=2, file_id=2, durable=1, sequence=first.sequence).batch([(b"c",), (b"d",)])
    image = bytearray(last.bytes())
    image[last.offsets[1] - 8] ^= 1
    disk = SimulatedDisk({first.name: bytes(500), last.name: bytes(image)})
    for _ in range(2):
        recovery = Recovery(DIRECTORY, disk)
        assert list(recovery.records()) == []
        found = [(each.case, each.sequence, each.count) for each in recovery.damages]
        assert found == [(Case.HEADER_LOST, 1, first.sequence)]
        assert recovery.sequence == first.sequence
        recovery.apply()


def test_the_log_goes_on_behind_damage_at_its_end():
    """Damage at the end, again and again: nothing that was written afterwards is lost, and numbers do not repeat."""
    first = SegmentMaker().batch(SYNCED)
    second = SegmentMaker(number=2, file_id=2, durable=first.sequence, sequence=first.sequence)
    image = bytearray(first.data)
    image[first.offsets[-2] :] = bytes(len(first.data) - first.offsets[-2])
    files = {first.name: bytes(image), second.name: second.bytes()}
    expected = [b"first", b"second"]
    sequences: list[int] = []
    for restart in range(4):
        disk = SimulatedDisk(files)
        owner = Owner(filesystem=disk, disk=CommitDisk(disk), options=SMALL)
        journal = owner.open()
        assert [payload for _, _, payload in owner.records] == expected
        assert owner.recovery.lost_count == 1
        for segment in owner.recovery.segments:
            journal.retain(segment)
        sequences.append(journal.append(1, b"%d" % restart))
        journal.retain(journal.current)
        owner.commit()
        expected.append(b"%d" % restart)
        journal.abandon()
        files = disk.files
    assert sequences[0] == first.sequence + 1
    assert sorted(set(sequences)) == sequences


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


def test_what_the_disk_refuses_to_read_costs_what_stood_there():
    class Broken(SimulatedDisk):
        def read(self, path: Path, size_max: int = -1) -> bytes:
            if size_max != HEADER_SIZE:
                raise OSError(errno.EIO, "no")
            return super().read(path, size_max)

        def read_from_disk(self, path: Path, offset: int, size: int) -> bytes:
            if offset == UNREADABLE_SIZE:
                raise OSError(errno.EIO, "no")
            return super().read_from_disk(path, offset, size)

    segment = SegmentMaker().batch([(b"%d" % number * 1000,) for number in range(9)]).batch([(b"proof",)])
    hits = [
        index
        for index, (begin, end) in enumerate(zip(segment.offsets, segment.offsets[1:], strict=False))
        if begin < 2 * UNREADABLE_SIZE and end > UNREADABLE_SIZE
    ]
    recovery = Recovery(DIRECTORY, Broken({segment.name: segment.bytes()}))
    sequences = [sequence for _, sequence, _, _ in recovery.records()]
    assert sequences == [index + 1 for index in range(10) if index not in hits]
    assert recovery.lost_count == len(hits) == 5
    recovery.apply()


def test_what_could_be_read_is_not_overwritten_with_zeros_once_it_cannot():
    class Worsening(SimulatedDisk):
        reads = 0

        def read(self, path: Path, size_max: int = -1) -> bytes:
            self.reads += size_max != HEADER_SIZE
            if self.reads > 1:
                raise OSError(errno.EIO, "no")
            return super().read(path, size_max)

        def read_from_disk(self, path: Path, offset: int, size: int) -> bytes:
            raise OSError(errno.EIO, "no")

    segment = SegmentMaker().batch([(b"confirmed",)])
    disk = Worsening({segment.name: segment.bytes()})
    with pytest.raises(OSError, match="no"):
        Recovery(DIRECTORY, disk).apply()
    assert disk.files == {segment.name: segment.bytes()}


def test_the_proof_of_damage_outlives_the_torn_batch_in_which_it_was():
    segment = SegmentMaker().batch([(b"first",), (b"hit",), (b"last",)])
    begin = len(segment.data)
    segment.batch([(b"torn",), (b"says that the batch before was on disk",)])
    image = bytearray(segment.bytes())
    image[segment.offsets[1] + 33] ^= 1
    image[begin + 33] ^= 1
    files = {segment.name: bytes(image)}
    for _ in range(3):
        records, recovery = recover(files)
        assert [payload for _, _, payload in records] == [b"first", b"last"]
        assert (recovery.sequence, recovery.lost_count) == (3, 1)
        disk = SimulatedDisk(files)
        Recovery(DIRECTORY, disk).apply()
        files = disk.files


def test_damage_before_a_torn_batch_leaves_no_part_of_its_units():
    """Two units of it were half there once: one damaged record before the batch had cost the other half."""
    segment, start = torn_segment()
    last = segment.offsets.index(start) - 1
    torn = [(b, e) for b, e in zip(segment.offsets, segment.offsets[1:], strict=False) if b >= start]
    for missing in range((1 << len(torn)) - 1):
        image = bytearray(segment.bytes())
        for index, (begin, end) in enumerate(torn):
            if missing >> index & 1:
                image[begin:end] = bytes(end - begin)
        expected = intact_units(segment, bytes(image))
        del expected[last]
        sequence = len(expected) + 1
        for position in (segment.offsets[last] + 8, start - 16):
            files = {segment.name: bytes(image)}
            files[segment.name] = bytes(image[:position]) + bytes([image[position] ^ 1]) + bytes(image[position + 1 :])
            for _ in range(3):
                records, recovery = recover(files)
                assert [payload for _, _, payload in records] == expected
                assert (recovery.sequence, recovery.lost_count) == (sequence, 1)
                disk = SimulatedDisk(files)
                Recovery(DIRECTORY, disk).apply()
                files = disk.files
            later = SegmentMaker(number=2, file_id=2, durable=sequence, sequence=sequence).batch([(b"later",)])
            records, recovery = recover(files | {later.name: later.bytes()})
            assert [payload for _, _, payload in records] == [*expected, b"later"]
            assert recovery.lost_count == 1


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
    # Everything that is served is as it was written, and in order.
    rest = iter(original)
    assert all(record in rest for record in records)
    if not recovery.damages:
        assert records == original[: len(records)]
        unit_ends = itertools.accumulate(map(len, SYNCED + UNSYNCED + SYNCED), initial=0)
        assert len(records) in set(unit_ends)
    assert recovery.repairs
    # And so does every later start.
    disk = SimulatedDisk(files)
    Recovery(DIRECTORY, disk).apply()
    assert recover(disk.files)[0] == records
