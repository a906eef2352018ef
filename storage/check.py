"""Looks at a journal without changing it, for people and for tests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from storage.cases import LOSSES
from storage.damage import Damage
from storage.errors import FormatTooNew, JournalError
from storage.filesystem import Filesystem
from storage.recovery import Recovery


@dataclass(slots=True)
class Report:
    """What a journal holds, what the next start would repair, and why it would refuse to start.

    ``record_count`` and ``payload_size`` count the records that a start would replay. ``damage`` is None for a
    journal that can be started; otherwise the counts go up to the damage. ``damages`` is what a start would put aside
    that reads every segment, ``lost_count`` how many records that costs as far as is known; behind an index the same
    damage is found when its message is read. ``cut_size`` is how many bytes of an unfinished
    commit the next start would cut. ``too_new`` says that a later version of the program wrote a file.
    """

    segment_count: int = 0
    record_count: int = 0
    payload_size: int = 0
    sequence: int = 0
    checkpoint_sequence: int = 0
    clean: bool = False
    cut_size: int = 0
    repairs: list[str] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    lost_count: int = 0
    damage: str | None = None
    too_new: bool = False


def check(
    directory: Path,
    filesystem: Filesystem | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Read every record of a journal. Raises OSError if a file cannot be read."""
    report = Report()
    try:
        recovery = Recovery(directory, filesystem)
        recovery.progress = progress
        report.checkpoint_sequence = recovery.checkpoint_sequence
        for _, sequence, payload, _ in recovery.records():
            report.record_count += 1
            report.payload_size += len(payload)
            report.sequence = sequence
    except JournalError as error:
        report.damage = str(error)
        report.too_new = isinstance(error, FormatTooNew)
        return report
    report.segment_count = len(recovery.segments)
    report.sequence = recovery.sequence
    report.damages = recovery.damages
    report.lost_count = recovery.lost_count
    report.clean = recovery.clean
    report.cut_size = sum(repair.lost_size for repair in recovery.repairs if repair.case in LOSSES)
    report.repairs = [str(repair) for repair in recovery.repairs]
    return report
