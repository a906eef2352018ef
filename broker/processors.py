"""How many processors this process may use."""

from __future__ import annotations

import os
from pathlib import Path

# Of version 2 of control groups, and of version 1: the time that may be used of each period.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_PERIOD_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def available_processors() -> float:
    """Return how many processors this process could have: those it may run on, or less if its control group says so."""
    count = float(len(os.sched_getaffinity(0)))
    for read in (_read_quota, _read_quota_v1):
        try:
            quota, period = read()
        except OSError:
            continue
        # "max" and -1 say that there is no limit.
        if quota.isdigit() and int(period):
            count = min(count, int(quota) / int(period))
    return count


def _read_quota() -> tuple[str, str]:
    quota, period = _QUOTA.read_text().split()
    return quota, period


def _read_quota_v1() -> tuple[str, str]:
    return _QUOTA_V1.read_text().strip(), _PERIOD_V1.read_text().strip()
