"""The alarms together, the disk alarm, and what is told of journals that stand still."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from broker.alarms import Alarms
from broker.free_space import CHECKS_SKIPPED_MAX, CLEAR_RATIO, FILL_RATE_MAX_BYTES, DiskAlarm
from broker.journal_watch import JournalWatch, JournalWatches
from storage.postponed import Obstacle

LIMIT = 100 << 20


@dataclass
class Switch:
    """An alarm that is set by hand."""

    source: str
    is_set: bool = False
    before: bool = False

    def check(self) -> bool:
        changed = self.is_set != self.before
        self.before = self.is_set
        return changed

    def describe(self) -> dict[str, Any]:
        return {}


def test_publishers_are_told_of_all_alarms_in_rabbitmqs_order() -> None:
    memory, disk = Switch("memory"), Switch("disk")
    alarms = Alarms([memory, disk])
    assert (alarms.check(), alarms.is_set, alarms.summary()) == ([], False, "")
    memory.is_set = True
    assert (alarms.check(), alarms.reason()) == ([memory], "low on memory")
    disk.is_set = True
    assert (alarms.check(), alarms.reason()) == ([disk], "low on disk & memory")
    assert alarms.summary() == "disk and memory alarms: publishers are blocked"
    memory.is_set = False
    assert (alarms.check(), alarms.reason()) == ([memory], "low on disk")
    assert alarms.summary() == "disk alarm: publishers are blocked"
    assert alarms.is_set


class FakeFileSystem:
    """What ``os.statvfs`` answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 10 * LIMIT
        self.asked = 0
        self.broken = False
        monkeypatch.setattr(os, "statvfs", self.answer)

    def answer(self, _directory: str) -> Any:
        self.asked += 1
        if self.broken:
            raise OSError(5, "input/output error")
        return type("Answer", (), {"f_bavail": self.free // 4096, "f_frsize": 4096})


@pytest.fixture
def file_system(monkeypatch: pytest.MonkeyPatch) -> FakeFileSystem:
    return FakeFileSystem(monkeypatch)


def check(alarm: DiskAlarm) -> bool:
    """Check until the file system has been asked again, and once more."""
    changed = [alarm.check() for _ in range(CHECKS_SKIPPED_MAX + 2)]
    return any(changed)


def test_the_disk_alarm_is_set_below_the_limit_and_cleared_only_well_above_it(file_system: FakeFileSystem) -> None:
    alarm = DiskAlarm("/", LIMIT, lambda measure: measure())
    assert not check(alarm)
    file_system.free = LIMIT - 4096
    assert check(alarm)
    assert alarm.is_set
    assert alarm.describe() == {"free_bytes": LIMIT - 4096, "limit_bytes": LIMIT, "out_of_room": False}
    file_system.free = int(LIMIT * CLEAR_RATIO) - 4096
    assert not check(alarm)
    assert alarm.is_set
    file_system.free = int(LIMIT * CLEAR_RATIO) + 4096
    assert check(alarm)
    assert not alarm.is_set


def test_a_limit_of_zero_leaves_what_the_journals_say(file_system: FakeFileSystem) -> None:
    file_system.free = 0
    alarm = DiskAlarm("/", 0, lambda measure: measure())
    assert not check(alarm)
    alarm.out_of_room = True
    assert check(alarm)
    assert alarm.is_set
    alarm.out_of_room = False
    assert check(alarm)
    assert not alarm.is_set


def test_the_file_system_is_asked_elsewhere_and_not_twice_at_a_time(file_system: FakeFileSystem) -> None:
    asked: list[Callable[[], None]] = []
    alarm = DiskAlarm("/", LIMIT, asked.append)
    for _ in range(20):
        assert not alarm.check()
    assert len(asked) == 1
    assert file_system.asked == 0
    file_system.free = 0
    asked[0]()
    assert alarm.check()
    assert len(asked) == 2


def test_an_empty_disk_is_looked_at_less_often(file_system: FakeFileSystem) -> None:
    alarm = DiskAlarm("/", LIMIT, lambda measure: measure())
    file_system.free = LIMIT + 100 * FILL_RATE_MAX_BYTES
    alarm.measure()
    for _ in range(4 * (CHECKS_SKIPPED_MAX + 1)):
        alarm.check()
    assert file_system.asked == 1 + 4
    file_system.free = LIMIT + FILL_RATE_MAX_BYTES // 2
    check(alarm)
    asked = file_system.asked
    for _ in range(10):
        alarm.check()
    assert file_system.asked == asked + 10


def test_a_file_system_that_does_not_say_leaves_the_alarm_as_it_was(file_system: FakeFileSystem) -> None:
    alarm = DiskAlarm("/", LIMIT, lambda measure: measure())
    file_system.free = 0
    check(alarm)
    file_system.broken = True
    with structlog.testing.capture_logs() as lines:
        assert not check(alarm)
        assert not check(alarm)
    assert alarm.is_set
    assert [line["event"] for line in lines] == ["cannot see how full the disk is"]


def test_what_the_journals_have_taken_since_counts_at_once(file_system: FakeFileSystem) -> None:
    journal = FakeJournal()
    watches = JournalWatches()
    watches.add(JournalWatch("/", journal, 10.0))
    asked: list[Callable[[], None]] = []
    alarm = DiskAlarm("/", LIMIT, asked.append, watches.taken_bytes)
    file_system.free = 2 * LIMIT
    journal.taken_bytes = 5 * LIMIT
    alarm.measure()
    assert not alarm.check()
    # The answer to what was just asked takes its time.
    journal.taken_bytes += LIMIT
    assert not alarm.wants_check
    journal.taken_bytes += 4096
    assert alarm.wants_check
    assert alarm.check()
    assert alarm.describe()["free_bytes"] == LIMIT - 4096
    file_system.free = 2 * LIMIT
    asked[0]()
    assert alarm.check()
    assert not alarm.is_set


def test_what_is_taken_amid_a_measurement_is_not_forgotten(
    file_system: FakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FakeJournal()
    watches = JournalWatches()
    watches.add(JournalWatch("/", journal, 10.0))
    alarm = DiskAlarm("/", LIMIT, lambda _: None, watches.taken_bytes)
    file_system.free = LIMIT + 4096

    def answer(directory: str) -> Any:
        found = file_system.answer(directory)
        journal.taken_bytes += 8192
        return found

    monkeypatch.setattr(os, "statvfs", answer)
    alarm.measure()
    assert alarm.check()


def test_a_journal_that_takes_room_has_an_empty_disk_looked_at_too(file_system: FakeFileSystem) -> None:
    alarm = DiskAlarm("/", LIMIT, lambda measure: measure())
    file_system.free = LIMIT + 100 * FILL_RATE_MAX_BYTES
    alarm.measure()
    alarm.check()
    asked = file_system.asked
    alarm.check()
    assert file_system.asked == asked
    alarm.hurry()
    alarm.check()
    assert file_system.asked == asked + 1


@dataclass
class FakeJournal:
    """What a watch sees of a journal."""

    failed: bool = False
    stuck: bool = False
    out_of_room: Obstacle | None = None
    obstacles: list[Obstacle] = field(default_factory=list)
    in_flight_seconds: float = 0.0
    in_flight_work: str = "syncing segment-1"
    taken_bytes: int = 0
    retries: int = 0
    looks: int = 0
    low: bool = False

    def retry(self) -> None:
        self.retries += 1

    def save_room(self, low: bool) -> None:
        self.low = low

    def reconsider(self) -> None:
        self.looks += 1


FULL = Obstacle(Path("segment-1"), "writing", 28)


def events(watches: JournalWatches) -> list[str]:
    with structlog.testing.capture_logs() as lines:
        watches.check()
    return [line["event"] for line in lines]


def test_a_full_disk_is_told_at_its_beginning_and_its_end() -> None:
    journal = FakeJournal()
    watches = JournalWatches()
    watches.add(JournalWatch("/", journal, 10.0))
    assert events(watches) == []
    watches.retry()
    assert journal.looks == 1
    assert journal.retries == 0
    journal.out_of_room, journal.obstacles = FULL, [FULL]
    with structlog.testing.capture_logs() as lines:
        assert watches.check()
        assert watches.check()
    (line,) = lines
    assert (line["file"], line["errno"], line["vhost"]) == ("segment-1", "ENOSPC", "/")
    assert watches.problem() is None
    journal.stuck = True
    assert watches.problem() == (
        "disk full: nothing is confirmed in vhost '/': writing segment-1 failed: No space left on device"
    )
    watches.retry()
    assert journal.retries == 1
    journal.stuck, journal.out_of_room = False, None
    assert events(watches) == ["there is room on the disk again"]
    assert watches.problem() is None


def test_a_journal_that_has_failed_is_not_waited_for() -> None:
    journal = FakeJournal(out_of_room=FULL, failed=True)
    watches = JournalWatches()
    watches.add(JournalWatch("/", journal, 10.0))
    assert not watches.check()


def test_a_stall_is_told_once_while_it_lasts_and_once_at_its_end() -> None:
    journal = FakeJournal(in_flight_seconds=9.9)
    watches = JournalWatches()
    watches.add(JournalWatch("/", journal, 10.0))
    assert events(watches) == []
    journal.in_flight_seconds = 10.2
    assert events(watches) == ["disk stalled; nothing is confirmed meanwhile"]
    journal.in_flight_seconds = 12.3
    assert events(watches) == []
    problem = "disk stalled: nothing is confirmed in vhost '/': syncing segment-1 has taken 12 s so far"
    assert watches.problem() == problem
    journal.in_flight_seconds = 0.001
    with structlog.testing.capture_logs() as lines:
        watches.check()
    assert [(line["event"], line["seconds"]) for line in lines] == [("disk stall has ended", 12.3)]
    assert watches.problem() is None


def test_journals_are_told_to_save_room() -> None:
    journal = FakeJournal()
    watches = JournalWatches()
    watches.add(JournalWatch("/", journal, 10.0))
    watches.save_room(True)
    assert journal.low
