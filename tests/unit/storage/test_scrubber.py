"""The scrubber finds what is damaged in sealed segments, once, and touches nothing."""

import errno
import random
from pathlib import Path

from storage.cases import Case
from storage.damage import Damage
from storage.layout import HEADER_SIZE
from storage.record import SEALED
from storage.scrubber import CHUNK_SIZE, Scrubber, ScrubberOptions
from tests.support.waiting import until
from tests.unit.storage.simulated_disk import SimulatedDisk
from tests.unit.storage.support import DIRECTORY, Owner, SegmentMaker

FAST = ScrubberOptions(interval_s=0.001, bytes_per_s=1 << 40)


def scrub(files: dict[str, bytes], numbers: list[int]) -> list[Damage]:
    found: list[Damage] = []
    disk = SimulatedDisk(files)
    scrubber = Scrubber(DIRECTORY, lambda: numbers, found.append, FAST, filesystem=disk)
    scrubber.scrub()
    first = list(found)
    scrubber.scrub()
    assert found == first  # each place once
    assert disk.files == files
    return first


def large_segment() -> SegmentMaker:
    chance = random.Random(5)
    sizes = [1, 100, CHUNK_SIZE - 200, 3 * CHUNK_SIZE, 0, 5000, CHUNK_SIZE]
    return SegmentMaker().batch([(chance.randbytes(size),) for size in sizes]).mark(SEALED)


def test_a_sound_segment() -> None:
    segment = large_segment()
    assert scrub({segment.name: bytes(segment.data)}, [1]) == []
    # What follows the mark is of the file's earlier life.
    assert scrub({segment.name: bytes(segment.data) + b"\xff" * CHUNK_SIZE}, [1]) == []


def test_damage_in_each_record_is_found_where_it_is() -> None:
    segment = large_segment()
    for index, (begin, end) in enumerate(zip(segment.offsets, segment.offsets[1:], strict=False)):
        for position in (begin, begin + 5, end - 1):
            image = bytearray(segment.data)
            image[position] ^= 1
            (damage,) = scrub({segment.name: bytes(image)}, [1])
            assert (damage.case, damage.segment, damage.offset) == (Case.RECORD_DAMAGED, 1, begin), (index, position)
            assert damage.size == end - begin


def test_a_damaged_header() -> None:
    segment = large_segment()
    image = bytearray(segment.data)
    image[20] ^= 1
    (damage,) = scrub({segment.name: bytes(image)}, [1])
    assert (damage.case, damage.size) == (Case.HEADER_CHECKSUM, HEADER_SIZE)


def test_a_segment_that_is_gone_or_not_sealed_is_nothing() -> None:
    segment = large_segment()
    assert scrub({segment.name: bytes(segment.data)}, [1, 2]) == []
    found: list[Damage] = []
    answers = iter([[1], []])
    disk = SimulatedDisk({segment.name: b"\xff" * 5000})
    Scrubber(DIRECTORY, lambda: next(answers), found.append, FAST, filesystem=disk).scrub()
    assert found == []


def test_what_the_disk_refuses_to_read_is_damage() -> None:
    class Broken(SimulatedDisk):
        def read_from_disk(self, path: Path, offset: int, size: int) -> bytes:
            if offset == CHUNK_SIZE:
                raise OSError(errno.EIO, "no")
            return super().read_from_disk(path, offset, size)

    segment = large_segment()
    found: list[Damage] = []
    disk = Broken({segment.name: bytes(segment.data)})
    Scrubber(DIRECTORY, lambda: [1], found.append, FAST, filesystem=disk).scrub()
    hit = max(offset for offset in segment.offsets if offset <= CHUNK_SIZE)
    assert [(damage.case, damage.offset) for damage in found] == [(Case.RECORD_DAMAGED, hit)]


def test_beside_a_journal(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    journal = owner.open()
    while journal.current.number < 4:
        journal.append(1, b"x" * 500)
        journal.retain(journal.current)
        owner.commit()
    owner.wait(lambda: journal.sealed_segments() == [1, 2, 3])
    path = tmp_path / "segment-0000000000000002"
    image = bytearray(path.read_bytes())
    image[HEADER_SIZE + 32] ^= 1
    path.write_bytes(image)
    found: list[Damage] = []
    scrubber = Scrubber(tmp_path, journal.sealed_segments, found.append, FAST)
    scrubber.start()
    until(lambda: scrubber.rounds >= 2)
    scrubber.stop()
    journal.close()
    assert [(damage.segment, damage.offset, damage.case) for damage in found] == [(2, HEADER_SIZE, Case.RECORD_DAMAGED)]


def test_it_does_not_read_faster_than_it_may(tmp_path: Path) -> None:
    segment = large_segment()
    waits: list[float] = []
    scrubber = Scrubber(
        DIRECTORY,
        lambda: [1],
        pytest_fail,
        ScrubberOptions(0.0, 1 << 19),
        filesystem=SimulatedDisk({segment.name: bytes(segment.data)}),
    )
    scrubber._stopping.wait = lambda seconds=None: bool(waits.append(seconds))  # type: ignore[method-assign]
    scrubber.scrub()
    assert 0.9 * len(segment.data) / (1 << 19) < sum(waits) <= len(segment.data) / (1 << 19)


def pytest_fail(damage: Damage) -> None:
    raise AssertionError(damage)
