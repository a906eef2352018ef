"""Indexes of sealed segments: what they say, when they are believed, and that a start is the same without them."""

import random
from pathlib import Path
from typing import Any

import pytest

from storage.cases import Case
from storage.index import Index
from storage.journal import Journal
from storage.layout import index_path
from storage.options import JournalOptions
from storage.recovery import Recovery
from storage.replayer import Replayer
from tests.unit.storage.support import Owner

SEEDS = range(20)


class Seen(Replayer):
    """Notes what it is given."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def on_record(self, kind: int, sequence: int, summary: bytes, segment: Any, offset: int) -> None:
        self.records.append((kind, sequence, summary, segment.number, offset))


def written(directory: Path, seed: int, *, closed: bool) -> None:
    """A journal of some small segments, with units that go over their ends."""
    random_ = random.Random(seed)
    owner = Owner(directory, options=JournalOptions(4096, 4096, 0), replayer=Replayer())
    owner.open()
    for _ in range(60):
        for left in range(random_.randint(0, 3), -1, -1):
            kind = random_.choice([1, 1, 1, 2, 90, 100, 130])
            owner.journal.append(kind, random_.randbytes(random_.choice([0, 7, 100, 700])), left == 0)
            owner.journal.retain(owner.journal.current)
        if random_.random() < 0.5:
            owner.journal.commit()
    owner.journal.append(1, b"the end")
    owner.commit()
    if closed:
        owner.journal.close()
    else:
        owner.journal.abandon()


def replayed(directory: Path) -> tuple[Seen, Recovery]:
    recovery = Recovery(directory)
    seen = Seen()
    recovery.replay(seen)
    return seen, recovery


def without_indexes(directory: Path) -> dict[Path, bytes]:
    indexes = {path: path.read_bytes() for path in directory.glob("*.index")}
    for path in indexes:
        path.unlink()
    return indexes


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("closed", [True, False])
def test_a_start_from_indexes_is_as_one_from_records(tmp_path: Path, seed: int, closed: bool) -> None:
    written(tmp_path, seed, closed=closed)
    seen, recovery = replayed(tmp_path)
    indexes = without_indexes(tmp_path)
    assert len(indexes) > 3
    expected, plain = replayed(tmp_path)
    assert seen.records == expected.records
    for name in ("sequence", "epoch", "next_number", "clean", "damages"):
        assert getattr(recovery, name) == getattr(plain, name), name
    assert [str(repair) for repair in recovery.repairs] == [str(repair) for repair in plain.repairs]
    assert [(each.number, each.size, each.last_sequence, each.state_sequence) for each in recovery.segments] == [
        (each.number, each.size, each.last_sequence, each.state_sequence) for each in plain.segments
    ]
    assert len(recovery.unindexed) < len(plain.unindexed)


def test_after_a_clean_stop_nothing_has_to_be_read(tmp_path: Path) -> None:
    written(tmp_path, 1, closed=True)
    _, recovery = replayed(tmp_path)
    # What was prepared and never used has no records.
    assert [segment for segment in recovery.unindexed if segment in recovery.segments] == []


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_an_index_that_is_damaged_is_not_believed_and_made_again(tmp_path: Path, seed: int) -> None:
    random_ = random.Random(seed)
    written(tmp_path, seed, closed=True)
    path = index_path(tmp_path, 2)
    whole = path.read_bytes()
    expected, _ = replayed(tmp_path)
    for damaged in (
        whole[: random_.randrange(len(whole))],
        b"",
        bytes(len(whole)),
        whole + b"x",
        *(changed(whole, random_.randrange(len(whole)), random_) for _ in range(20)),
        index_path(tmp_path, 3).read_bytes(),
    ):
        path.write_bytes(damaged)
        seen, recovery = replayed(tmp_path)
        assert seen.records == expected.records
        assert Case.INDEX_BAD in [repair.case for repair in recovery.repairs]
    journal = Journal(recovery, durable=lambda _: None, failed=lambda _: None, replayer=Replayer())
    journal.close()
    assert Index.decode(path.read_bytes()) == Index.decode(whole)


def changed(data: bytes, at: int, random_: random.Random) -> bytes:
    return data[:at] + bytes((data[at] ^ random_.randrange(1, 256),)) + data[at + 1 :]


def test_an_index_goes_with_its_segment(tmp_path: Path) -> None:
    owner = Owner(tmp_path, options=JournalOptions(4096, 4096, 0), replayer=Replayer())
    owner.open()
    kept = owner.journal.current
    owner.journal.retain(kept)
    for _ in range(100):
        owner.journal.append(1, bytes(200))
        owner.commit()
    owner.journal.release(kept)
    owner.journal.append(1, b"")
    owner.wait(lambda: owner.journal.segment_count == 1)
    owner.journal.close()
    assert list(tmp_path.glob("*.index")) == [index_path(tmp_path, owner.journal.current.number)]
