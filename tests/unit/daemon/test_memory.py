"""The memory alarm."""

import resource

import pytest

from broker.memory import MemoryAlarm, available_bytes, resident_bytes


def test_the_resident_memory_is_the_systems_figure() -> None:
    assert 1 << 20 < resident_bytes() < available_bytes()


def test_the_resident_memory_is_known_without_a_free_descriptor() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        assert resident_bytes() > 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_limit_is_a_share_unless_given() -> None:
    assert MemoryAlarm(0, 0.5).limit_bytes == available_bytes() // 2
    assert MemoryAlarm(1000, 0.5).limit_bytes == 1000


def test_the_alarm_is_set_above_the_limit_and_tells_of_the_change_once() -> None:
    alarm = MemoryAlarm(1, 0.5)
    assert alarm.check()
    assert alarm.is_set
    assert not alarm.check()
    assert alarm.describe() == {"resident_bytes": pytest.approx(resident_bytes(), rel=0.2), "limit_bytes": 1}


def test_the_alarm_is_cleared_only_somewhat_below_the_limit() -> None:
    alarm = MemoryAlarm(1, 0.5)
    alarm.check()
    alarm.limit_bytes = int(resident_bytes() * 1.02)
    assert not alarm.check()
    assert alarm.is_set
    alarm.limit_bytes = resident_bytes() * 2
    assert alarm.check()
    assert not alarm.is_set
