"""Records are read where they stand, also those that nobody needs, and damage costs what is damaged."""

import random

from storage import history
from storage.history import PastReader, PastRecord, Stretch
from storage.layout import HEADER_SIZE
from tests.unit.storage.simulated_disk import SimulatedDisk
from tests.unit.storage.support import DIRECTORY, SegmentMaker


def made(payloads: list[bytes]) -> SegmentMaker:
    return SegmentMaker().batch([[payload] for payload in payloads])


def read(maker: SegmentMaker, data: bytes, offset: int = 0, size_max: int = 1 << 40) -> list[PastRecord]:
    stretch = Stretch(maker.number, maker.offsets[-1], maker.header.seed, maker.epoch)
    return list(PastReader(SimulatedDisk({maker.name: data}), DIRECTORY, stretch, offset).records(size_max))


def payloads_of(records: list[PastRecord]) -> list[bytes]:
    return [bytes(record.payload) for record in records if record.payload is not None]


def test_records_are_handed_out_with_their_places(monkeypatch):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    payloads = [chance.randbytes(chance.choice((0, 1, 7, 100, 5000))) for _ in range(200)]
    maker = made(payloads)
    for chunk_size in (32, 1000, 1 << 20):
        monkeypatch.setattr(history, "CHUNK_SIZE", chunk_size)
        records = read(maker, maker.bytes())
        assert payloads_of(records) == payloads
        assert [record.offset for record in records] == maker.offsets[:-1]
        assert records[-1].next_offset == maker.offsets[-1]
        assert {record.kind for record in records} == {1}
        middle = maker.offsets[77]
        assert payloads_of(read(maker, maker.bytes(), middle)) == payloads[77:]
        assert payloads_of(read(maker, maker.bytes(), middle, 1)) == payloads[77:78]


def test_what_is_not_on_disk_yet_is_left_out():
    maker = made([b"one", b"two"])
    stretch = Stretch(1, maker.offsets[1], maker.header.seed, maker.epoch)
    reader = PastReader(SimulatedDisk({maker.name: maker.bytes()}), DIRECTORY, stretch)
    assert payloads_of(list(reader.records(1 << 20))) == [b"one"]


def test_damage_costs_the_damaged_record_only(monkeypatch):
    payloads = [bytes([number]) * 300 for number in range(20)]
    maker = made(payloads)
    for chunk_size in (64, 1 << 20):
        monkeypatch.setattr(history, "CHUNK_SIZE", chunk_size)
        for at in range(maker.offsets[5], maker.offsets[6]):
            data = bytearray(maker.bytes())
            data[at] ^= 0x10
            records = read(maker, bytes(data))
            assert payloads_of(records) == payloads[:5] + payloads[6:]
            broken = [record for record in records if record.payload is None]
            assert [(record.offset, record.next_offset) for record in broken] == [tuple(maker.offsets[5:7])]


def test_a_file_that_has_become_another_segment_has_no_records():
    maker, other = made([b"one", b"two"]), SegmentMaker(file_id=7).batch([[b"three"], [b"four"]])
    assert payloads_of(read(maker, other.bytes())) == []
    assert payloads_of(read(maker, b"")) == []
    assert maker.offsets[0] == HEADER_SIZE
