"""Looks at a journal without changing it, for people and for tests."""

from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import JournalError
from storage.filesystem import Filesystem
from storage.recovery import LOSSES, Recovery


@dataclass(slots=True)
class Report:
    """What a journal holds, what the next start would repair, and why it would refuse to start.

    ``record_count`` and ``payload_size`` count the records that a start would replay. ``damage`` is None for a
    journal that can be started; otherwise the counts go up to the damage. ``cut_size`` is how many bytes of an
    unfinished commit the next start would cut.
    """

    segment_count: int = 0
    record_count: int = 0
    payload_size: int = 0
    sequence: int = 0
    checkpoint_sequence: int = 0
    clean: bool = False
    cut_size: int = 0
    repairs: list[str] = field(default_factory=list)
    damage: str | None = None


def check(directory: Path, filesystem: Filesystem | None = None) -> Report:
    """Read every record of a journal. Raises OSError if a file cannot be read."""
    report = Report()
    try:
        recovery = Recovery(directory, filesystem)
        report.checkpoint_sequence = recovery.checkpoint_sequence
        for _, sequence, payload, _ in recovery.records():
            report.record_count += 1
            report.payload_size += len(payload)
            report.sequence = sequence
    except JournalError as error:
        report.damage = str(error)
        return report
    report.segment_count = len(recovery.segments)
    report.sequence = recovery.sequence
    report.clean = recovery.clean
    report.cut_size = sum(repair.lost_size for repair in recovery.repairs if repair.case in LOSSES)
    report.repairs = [str(repair) for repair in recovery.repairs]
    return report
