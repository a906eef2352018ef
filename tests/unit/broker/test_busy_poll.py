"""Looking for work before the event loop sleeps: where it pays, and only there."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from broker import processors
from broker.busy_poll import CONFIDENCE_MAX, COURSES, REMEMBERED_WAITS, WAKING_NS, BusyPoll, busy_poll
from broker.clock import monotonic_ns
from broker.processors import available_processors

DURATION_US = 50
SHORT_NS = 30_000
LONG_NS = 5_000_000
# By then every course that comes up is known for sure.
LEARNT = COURSES * CONFIDENCE_MAX + REMEMBERED_WAITS


class Loop:
    """What the event loop is asked to call, and the time of a clock that is far ahead of the real one."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []
        self.now_ns = monotonic_ns() + 3_600_000_000_000
        self.poll = BusyPoll(self.ready.append, DURATION_US)
        self.poll.end_turn(self.now_ns)

    def wait(self, duration_ns: int) -> bool:
        """Have work come after so long, and say whether the event loop looked for it."""
        self.iterate()
        looked = self.poll.looking
        if duration_ns > DURATION_US * 1000 and looked:
            self.give_up()
        self.now_ns += duration_ns
        self.poll.begin_turn(self.now_ns)
        self.poll.end_turn(self.now_ns)
        return looked

    def iterate(self) -> None:
        ready, self.ready[:] = self.ready[:], []
        for call in ready:
            call()

    def give_up(self) -> None:
        """Let the time pass in which it looks: the real clock is past any time of long ago."""
        self.poll.end_turn(0)
        self.iterate()
        assert not self.poll.looking
        assert self.ready == []


def waits(loop: Loop, durations_ns: Iterable[int]) -> list[bool]:
    return [loop.wait(duration_ns) for duration_ns in durations_ns]


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_it_looks_once_work_has_come_soon_a_few_times(loop: Loop) -> None:
    looked = waits(loop, [SHORT_NS] * LEARNT)
    assert not any(looked[:2])
    assert all(looked[REMEMBERED_WAITS + CONFIDENCE_MAX :])


def test_it_does_not_look_where_work_comes_now_and_then(loop: Loop) -> None:
    assert not any(waits(loop, [LONG_NS] * LEARNT))


def test_it_stops_when_work_comes_later_than_it_did(loop: Loop) -> None:
    waits(loop, [SHORT_NS] * LEARNT)
    looked = waits(loop, [LONG_NS] * LEARNT)
    assert looked[0]
    assert sum(looked) <= CONFIDENCE_MAX
    assert not loop.poll.looking


def test_it_looks_for_the_answer_and_not_for_the_next_request(loop: Loop) -> None:
    waits(loop, [SHORT_NS, LONG_NS] * LEARNT)
    assert waits(loop, [SHORT_NS, LONG_NS] * 10) == [True, False] * 10


def test_what_was_waited_for_asleep_may_take_the_time_of_waking(loop: Loop) -> None:
    assert any(waits(loop, [DURATION_US * 1000 + WAKING_NS - 1] * LEARNT))
    assert not any(waits(Loop(), [DURATION_US * 1000 + WAKING_NS] * LEARNT))


def test_it_goes_on_looking_until_the_time_is_over(loop: Loop) -> None:
    waits(loop, [SHORT_NS] * LEARNT)
    for _ in range(100):
        loop.iterate()
        assert len(loop.ready) == 1
    loop.give_up()


@pytest.mark.parametrize(("processor_count", "duration_us", "made"), [(2, 50, True), (1.9, 50, False), (8, 0, False)])
def test_there_is_none_without_a_processor_to_spare(
    monkeypatch: pytest.MonkeyPatch, processor_count: float, duration_us: int, made: bool
) -> None:
    monkeypatch.setattr("broker.busy_poll.available_processors", lambda: processor_count)
    assert (busy_poll([].append, duration_us) is not None) == made


@pytest.mark.parametrize(
    ("count", "files", "expected"),
    [
        (4, {}, 4),
        (4, {"_QUOTA": "max 100000"}, 4),
        (4, {"_QUOTA": "150000 100000"}, 1.5),
        (1, {"_QUOTA": "400000 100000"}, 1),
        (4, {"_QUOTA_V1": "-1\n", "_PERIOD_V1": "100000\n"}, 4),
        (4, {"_QUOTA_V1": "50000\n", "_PERIOD_V1": "100000\n"}, 0.5),
    ],
)
def test_processors_are_those_of_the_machine_or_of_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, files: dict[str, str], expected: float
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(count)))
    for name in ("_QUOTA", "_QUOTA_V1", "_PERIOD_V1"):
        path = tmp_path / name
        monkeypatch.setattr(processors, name, path)
        if name in files:
            path.write_text(files[name])
    assert available_processors() == expected
