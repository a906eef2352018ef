"""The fetcher by itself, with its thread and stepped: what it reads, in which pieces, and what it says of damage."""

import errno
import os
import random
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.disk import PythonDisk
from storage.fetcher import Fetch, Fetcher, FetchStatus
from storage.layout import segment_path
from storage.options import JournalOptions
from storage.record import size_of
from storage.segment import UNIT_SIZE
from storage.stepped_fetcher import SteppedFetcher
from tests.unit.storage.support import Owner

pytestmark = pytest.mark.timeout(60)

MEBIBYTE = 1 << 20
PATIENCE_S = 20.0
SPAN_SIZE_MAX = MEBIBYTE
DATA_SIZE_MAX = 16 * MEBIBYTE
SPAN_GAP_MAX = 4096
DESCRIPTORS_MAX = 16
FETCHES_MAX = 256
READ, DAMAGED = FetchStatus.READ, FetchStatus.DAMAGED
NOT_READ, UNREADABLE = FetchStatus.NOT_READ, FetchStatus.UNREADABLE


class WatchedDisk(PythonDisk):
    """The real disk: what is read of it, how many files are open, and places that it does not give back."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []
        self.open: set[int] = set()
        self.most_open = 0
        self.opened = 0
        self.bad: tuple[int, int] | None = None
        self.before_reading: Callable[[], object] = lambda: None

    def on_open(self, path: str) -> int:
        descriptor = super().on_open(path)
        self.opened += 1
        self.open.add(descriptor)
        self.most_open = max(self.most_open, len(self.open))
        return descriptor

    def on_close(self, descriptor: int) -> None:
        self.open.remove(descriptor)
        super().on_close(descriptor)

    def on_read(self, descriptor: int, size: int, offset: int) -> bytes:
        self.before_reading()
        self.reads.append((offset, size))
        if self.bad is not None and offset < self.bad[1] and self.bad[0] < offset + size:
            raise OSError(errno.EIO, "a bad place")
        return super().on_read(descriptor, size, offset)

    @property
    def bytes_read(self) -> int:
        return sum(size for _, size in self.reads)


class Records:
    """A journal with records, and the places where they are."""

    def __init__(self, directory: Path, segment_size: int = 2 * MEBIBYTE) -> None:
        self.owner = Owner(directory, options=JournalOptions(segment_size, segment_size))
        self.journal = self.owner.open()
        self.payloads: list[bytes] = []
        self.places: list[tuple[int, int]] = []

    def add(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.journal.append(1, payload)
            segment = self.journal.current
            self.journal.retain(segment)
            self.payloads.append(payload)
            self.places.append((segment.number, segment.size - size_of(len(payload))))

    def fetch(self, *indexes: int, hint: int | None = None) -> Fetch:
        """Return a fetch of records, expected to have the size that they have, or ``hint``."""
        fetch = Fetch()
        for index in indexes:
            number, offset = self.places[index]
            size = len(self.payloads[index]) if hint is None else hint
            fetch.add(index, (number << 32) + offset // UNIT_SIZE, size)
        self.journal.add_sources(fetch)
        return fetch

    def close(self) -> None:
        """Bring everything on disk, and leave the files alone from now on."""
        self.owner.commit()
        self.journal.abandon()

    def change(self, index: int, at: int) -> None:
        """Damage a byte of a record."""
        number, offset = self.places[index]
        with segment_path(self.owner.directory, number).open("r+b") as file:
            file.seek(offset + at)
            (octet,) = file.read(1)
            file.seek(offset + at)
            file.write(bytes([octet ^ 1]))


@pytest.fixture
def disk() -> WatchedDisk:
    return WatchedDisk()


class Reader:
    """A fetcher, and what it takes to wait for it."""

    def __init__(self, make: Callable[[PythonDisk, Path, int], Fetcher], disk: WatchedDisk, directory: Path) -> None:
        self.completion = os.eventfd(0, os.EFD_NONBLOCK)
        self.fetcher = make(disk, directory, self.completion)
        self.fetcher.start()

    def finish(self, count: int = 1) -> list[Fetch]:
        """Return the next fetches that are finished."""
        finished: list[Fetch] = []
        while len(finished) < count:
            if isinstance(self.fetcher, SteppedFetcher):
                assert self.fetcher.can_step
                self.fetcher.step()
            assert select.select([self.completion], [], [], PATIENCE_S)[0], "nothing is read any more"
            os.eventfd_read(self.completion)
            finished += self.fetcher.take_finished()
        assert len(finished) == count
        return finished

    def read(self, fetch: Fetch) -> list[FetchStatus]:
        """Have records read. Returns how that went, and sees that those that were read are as they were."""
        assert self.fetcher.submit(fetch)
        assert self.finish() == [fetch]
        return [status for _, status, _ in fetch.results()]

    def close(self) -> None:
        self.fetcher.stop()
        os.close(self.completion)


@pytest.fixture(params=[Fetcher, SteppedFetcher], ids=["thread", "stepped"])
def reader(request: pytest.FixtureRequest, tmp_path: Path, disk: WatchedDisk) -> Iterator[Reader]:
    opened = Reader(request.param, disk, tmp_path)
    yield opened
    opened.close()
    assert disk.open == set()


def check_payloads(records: Records, fetch: Fetch) -> None:
    for index, status, payload in fetch.results():
        assert payload == (records.payloads[index] if status is READ else None)


def test_many_places_in_one_segment_are_read_in_few_pieces(tmp_path: Path, reader: Reader, disk: WatchedDisk) -> None:
    records = Records(tmp_path)
    records.add(*(b"%d " % number * (number % 97) for number in range(5000)))
    records.close()
    fetch = records.fetch(*range(5000))
    assert reader.read(fetch) == [READ] * 5000
    check_payloads(records, fetch)
    assert len(disk.reads) <= 1 + disk.bytes_read // (SPAN_SIZE_MAX // 2)
    assert disk.opened == 1
    # In any order it takes longer, and that is all.
    shuffled = random.Random(1).sample(range(5000), 500)
    fetch = records.fetch(*shuffled)
    assert reader.read(fetch) == [READ] * 500
    assert [index for index, _, _ in fetch.results()] == shuffled
    check_payloads(records, fetch)
    assert disk.opened == 1


def test_what_lies_far_apart_is_not_read_together(tmp_path: Path, reader: Reader, disk: WatchedDisk) -> None:
    records = Records(tmp_path)
    for _ in range(10):
        records.add(b"wanted", bytes(10 * SPAN_GAP_MAX))
    records.close()
    assert reader.read(records.fetch(*range(0, 20, 2))) == [READ] * 10
    assert len(disk.reads) == 10
    assert disk.bytes_read < 10 * SPAN_GAP_MAX


@pytest.mark.parametrize("hint", [0, None], ids=["unexpected", "expected"])
@pytest.mark.parametrize("size", [600, SPAN_SIZE_MAX - 1, SPAN_SIZE_MAX + 1, 5 * MEBIBYTE])
def test_a_record_that_is_larger_than_anything_that_is_read_at_once(
    tmp_path: Path, reader: Reader, size: int, hint: int | None
) -> None:
    records = Records(tmp_path, segment_size=MEBIBYTE)
    records.add(b"before", random.Random(size).randbytes(size), b"behind")
    records.close()
    fetch = records.fetch(0, 1, 2, hint=hint)
    assert reader.read(fetch) == [READ] * 3
    check_payloads(records, fetch)


def test_what_is_too_much_for_one_fetch_is_left_for_another(tmp_path: Path, reader: Reader) -> None:
    records = Records(tmp_path)
    records.add(*(bytes([number]) * (DATA_SIZE_MAX // 2) for number in range(3)))
    records.add(bytes(DATA_SIZE_MAX + 1))
    records.close()
    fetch = records.fetch(0, 1, 2)
    assert reader.read(fetch) == [READ, READ, NOT_READ]
    check_payloads(records, fetch)
    assert reader.read(records.fetch(2)) == [READ]
    # One is always read, whatever its size.
    assert reader.read(records.fetch(3, 0)) == [READ, NOT_READ]


def test_one_bad_place_costs_one_record(tmp_path: Path, reader: Reader, disk: WatchedDisk) -> None:
    records = Records(tmp_path)
    records.add(*(b"%d" % number * 100 for number in range(50)))
    records.close()
    offset = records.places[20][1]
    disk.bad = offset + 40, offset + 50
    fetch = records.fetch(*range(50))
    assert reader.read(fetch) == [UNREADABLE if number == 20 else READ for number in range(50)]
    check_payloads(records, fetch)
    disk.bad = None
    assert reader.read(records.fetch(20)) == [READ]


@pytest.mark.parametrize("at", [0, 4, 8, 28, 30, 32, 100], ids=lambda at: f"byte {at}")
def test_a_damaged_record_is_known_and_costs_itself(tmp_path: Path, reader: Reader, at: int) -> None:
    records = Records(tmp_path)
    records.add(*(b"%d" % number * 100 for number in range(9)))
    records.close()
    records.change(4, at)
    fetch = records.fetch(*range(9))
    assert reader.read(fetch) == [DAMAGED if number == 4 else READ for number in range(9)]
    check_payloads(records, fetch)
    assert reader.read(records.fetch(4)) == [DAMAGED]


def test_a_record_of_which_the_end_is_missing_is_damaged(tmp_path: Path, reader: Reader) -> None:
    records = Records(tmp_path)
    records.add(b"whole", b"cut" * 1000)
    records.close()
    number, offset = records.places[1]
    path = segment_path(tmp_path, number)
    for size in (offset + 1000, offset + 31, offset):
        os.truncate(path, size)
        assert reader.read(records.fetch(0, 1)) == [READ, DAMAGED]
        assert reader.read(records.fetch(1, hint=0)) == [DAMAGED]
    path.unlink()
    reader.fetcher.forget_files()
    assert reader.read(records.fetch(0, 1)) == [UNREADABLE, UNREADABLE]


def test_only_so_many_files_are_open(tmp_path: Path, reader: Reader, disk: WatchedDisk) -> None:
    records = Records(tmp_path, segment_size=4096)
    while len({number for number, _ in records.places}) < 2 * DESCRIPTORS_MAX + 3:
        records.add(bytes(1000))
        records.owner.commit()
    records.close()
    count = len(records.places)
    for order in (range(count), reversed(range(count)), random.Random(2).sample(range(count), count)):
        fetch = records.fetch(*order)
        assert reader.read(fetch) == [READ] * count
        check_payloads(records, fetch)
    assert disk.most_open == DESCRIPTORS_MAX
    reader.fetcher.forget_files()
    assert reader.read(records.fetch(0)) == [READ]
    assert len(disk.open) == 1


def test_fetches_end_in_their_order_and_only_so_many_wait(tmp_path: Path, reader: Reader, disk: WatchedDisk) -> None:
    records = Records(tmp_path)
    records.add(*(b"%d" % number for number in range(FETCHES_MAX)))
    records.close()
    may_read = threading.Event()
    if not isinstance(reader.fetcher, SteppedFetcher):
        disk.before_reading = lambda: may_read.wait(PATIENCE_S)
    fetches = [records.fetch(number) for number in range(FETCHES_MAX)]
    assert all(reader.fetcher.submit(fetch) for fetch in fetches)
    assert not reader.fetcher.submit(records.fetch(0))
    may_read.set()
    assert reader.finish(FETCHES_MAX) == fetches
    assert reader.read(records.fetch(0)) == [READ]


def test_stopping_ends_with_what_is_being_read(tmp_path: Path, disk: WatchedDisk) -> None:
    records = Records(tmp_path)
    records.add(b"first", b"second")
    records.close()
    reader = Reader(Fetcher, disk, tmp_path)
    is_reading, may_read = threading.Event(), threading.Event()

    def wait() -> None:
        is_reading.set()
        assert may_read.wait(PATIENCE_S)

    disk.before_reading = wait
    first, second = records.fetch(0), records.fetch(1)
    assert reader.fetcher.submit(first)
    assert reader.fetcher.submit(second)
    assert is_reading.wait(PATIENCE_S)
    stopping = threading.Thread(target=reader.fetcher.stop)
    stopping.start()
    assert stopping.is_alive()
    may_read.set()
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()
    assert reader.fetcher.take_finished() == [first]
    assert [status for _, status, _ in second.results()] == [NOT_READ]
    assert disk.open == set()
    os.close(reader.completion)
