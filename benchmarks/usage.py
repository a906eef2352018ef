"""What the processes of a broker use: CPU time and memory, from /proc."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

PEAK = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)
RESET_PEAK = "5"


def processes(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except FileNotFoundError:
            # A process or thread that has just ended.
            continue
    return found


def _states(pid: int, name: str) -> list[str]:
    states = []
    for process in processes(pid):
        try:
            states.append(Path(f"/proc/{process}/{name}").read_text())
        except FileNotFoundError:
            continue
    return states


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its descendants."""
    ticks = 0
    for state in _states(pid, "stat"):
        fields = state.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the memory of a process and its descendants."""
    pages = sum(int(state.split()[1]) for state in _states(pid, "statm"))
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process and its descendants have had, each at its own time."""
    found = [PEAK.search(state) for state in _states(pid, "status")]
    return sum(int(peak[1]) * 1024 for peak in found if peak)


def reset_peak(pid: int) -> None:
    """Let the peak begin again with the memory of now, where that is allowed."""
    for process in processes(pid):
        try:
            Path(f"/proc/{process}/clear_refs").write_text(RESET_PEAK)
        except FileNotFoundError:
            continue
        except PermissionError:
            return


@dataclass(frozen=True, slots=True)
class Usage:
    """What a broker used while something was measured."""

    seconds: float
    cpu_s: float
    peak_bytes: int


class Meter:
    """Measures what a broker uses between two moments."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.begin()

    def begin(self) -> None:
        """Measure from now on."""
        reset_peak(self._pid)
        self._cpu_s, self._begin_s = cpu_seconds(self._pid), time.monotonic()

    def read(self) -> Usage:
        """Return what was used up to now."""
        seconds = time.monotonic() - self._begin_s
        return Usage(seconds, cpu_seconds(self._pid) - self._cpu_s, peak_bytes(self._pid))
