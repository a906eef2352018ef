"""The memory alarm: when the broker holds too much, publishers wait."""

from __future__ import annotations

import os
from pathlib import Path

# The alarm is cleared only somewhat below the limit, so that it does not come and go with each message.
CLEAR_RATIO = 0.95
_PAGE_SIZE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
# Kept open: when connections have taken all descriptors, memory still has to be watched.
_STATM = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
_STATM_SIZE_MAX_BYTES = 256


def resident_bytes() -> int:
    """Return how much memory this process has now."""
    return int(os.pread(_STATM, _STATM_SIZE_MAX_BYTES, 0).split()[1]) * _PAGE_SIZE_BYTES


def available_bytes() -> int:
    """Return how much memory this process could have: the machine's, or less if its control group says so."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE_SIZE_BYTES
    for path in _CGROUP_LIMITS:
        try:
            limit = path.read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            total = min(total, int(limit))
    return total


class MemoryAlarm:
    """Set while the process has more than ``limit_bytes``; 0 takes the share ``ratio`` of what there is."""

    source = "memory"

    def __init__(self, limit_bytes: int, ratio: float) -> None:
        self.limit_bytes = limit_bytes or int(available_bytes() * ratio)
        self.is_set = False
        self._resident = 0

    def check(self) -> bool:
        """Look, and return whether the alarm has changed."""
        self._resident = resident_bytes()
        before = self.is_set
        self.is_set = self._resident > self.limit_bytes * (CLEAR_RATIO if before else 1)
        return before != self.is_set

    def describe(self) -> dict[str, int]:
        """Return the figures for the log."""
        return {"resident_bytes": self._resident, "limit_bytes": self.limit_bytes}
