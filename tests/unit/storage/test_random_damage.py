"""Damage anywhere in a log of several segments, units, epochs and batches costs exactly the records that it hits."""

import itertools
import random

import pytest

from storage.errors import JournalError
from storage.layout import HEADER_SIZE
from storage.record import SEALED, STOPPED
from storage.recovery import Recovery
from tests.unit.storage.simulated_disk import SimulatedDisk
from tests.unit.storage.support import DIRECTORY, SegmentMaker, recover

SEEDS = range(150)


def make_log(chance: random.Random) -> list[SegmentMaker]:
    """Return segments as several lives of a journal leave them; the last batch is a mark of its own."""
    segments: list[SegmentMaker] = []
    sequence = durable = 0
    epoch = 1
    for number in range(1, chance.randint(2, 5)):
        segment = SegmentMaker(number, chance.getrandbits(64), epoch, chance.choice([durable, 0]), sequence)
        segment.durable = durable
        for _ in range(chance.randint(1, 4)):
            segment.batch(
                [
                    tuple(chance.randbytes(chance.choice([0, 1, 7, 40, 300])) for _ in range(chance.randint(1, 3)))
                    for _ in range(chance.randint(1, 3))
                ]
            )
        if chance.random() < 0.5:
            segment.mark(SEALED)
        elif chance.random() < 0.5:
            segment.mark(STOPPED)
            epoch += 1
        else:
            epoch += 1  # cut after a crash
        sequence, durable = segment.sequence, segment.durable
        segments.append(segment)
    last = SegmentMaker(len(segments) + 1, chance.getrandbits(64), epoch, durable, sequence)
    segments.append(last.batch([(b"the proof of everything before",)]))
    return segments


@pytest.mark.parametrize("seed", SEEDS)
def test_it_costs_what_it_hits(seed: int) -> None:
    chance = random.Random(seed)
    segments = make_log(chance)
    files = {segment.name: bytes(segment.data) for segment in segments[:-1]}
    files[segments[-1].name] = segments[-1].bytes()
    whole, _ = recover(files)
    hit_records: set[int] = set()
    headers: set[str] = set()
    for _ in range(chance.randint(1, 4)):
        segment = chance.choice(segments[:-1])
        image = bytearray(files[segment.name])
        begin = chance.randrange(len(image))
        end = min(begin + chance.choice([1, 1, 1, 30, 200]), len(image))
        for position in range(begin, end):
            image[position] ^= chance.randrange(1, 256)
        files[segment.name] = bytes(image)
        if begin < HEADER_SIZE:
            headers.add(segment.name)
        for offset, after, sequence in zip(segment.offsets, segment.offsets[1:], segment.sequences, strict=False):
            if begin < after and end > offset:
                hit_records.add(sequence)
    # Without a header and without two neighbours that are whole, nothing is left to tell records by.
    for segment in segments:
        if segment.name in headers:
            left = [sequence not in hit_records for sequence in segment.sequences]
            pairs = any(a and b for a, b in itertools.pairwise(left))
            if not pairs:
                return
    expected = [record for record in whole if record[1] not in hit_records]
    disk = SimulatedDisk(files)
    for _ in range(3):
        recovery = Recovery(DIRECTORY, disk)
        records = [(kind, sequence, payload) for kind, sequence, payload, _ in recovery.records()]
        assert records == expected, f"seed {seed}"
        assert recovery.sequence == segments[-1].sequence
        assert recovery.lost_count <= len(hit_records)
        recovery.apply()


@pytest.mark.parametrize("seed", SEEDS)
def test_files_that_are_cut_or_filled_anywhere_never_make_it_serve_anything_wrong(seed: int) -> None:
    chance = random.Random(seed)
    segments = make_log(chance)
    files = {segment.name: segment.bytes(chance.choice([0, 64])) for segment in segments}
    whole, _ = recover(files)
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(sorted(files))
        content = files[name]
        begin, end = sorted(chance.choices(range(len(content) + 1), k=2))
        change = chance.choice(["cut", "zeros", "noise", "remove", "repeat"])
        other = files[chance.choice(sorted(files))]
        files[name] = {
            "cut": content[:begin],
            "zeros": content[:begin] + bytes(end - begin) + content[end:],
            "noise": content[:begin] + chance.randbytes(end - begin) + content[end:],
            "remove": content[:begin] + content[end:],
            "repeat": content[:begin] + other[begin:end] + content[end:],
        }[change]
    disk = SimulatedDisk(files)
    try:
        recovery = Recovery(DIRECTORY, disk)
        records = [(kind, sequence, payload) for kind, sequence, payload, _ in recovery.records()]
    except JournalError:
        assert disk.files == files
        recovery = Recovery(DIRECTORY, disk, forced=True)
        records = [(kind, sequence, payload) for kind, sequence, payload, _ in recovery.records()]
    rest = iter(whole)
    assert all(record in rest for record in records), f"seed {seed}"
    if not recovery.overcome:
        recovery.apply()
        assert recover(disk.files)[0] == records
