"""Makes a journal that a start refuses into one that can be started, with whatever is left.

What a start does by itself is not repeated here. The original is copied first; it is not linked, because files of a
journal are overwritten later.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from storage.cases import WITH_REPAIR, Case
from storage.damage import quarantine_directory
from storage.filesystem import Filesystem, write_file
from storage.layout import (
    CHECKPOINT_PREFIX,
    PROOF_PREFIX,
    SEGMENT_PREFIX,
    SegmentHeader,
    number_in,
    segment_path,
)
from storage.record import RECLAIMED, STOPPED, encode
from storage.recovery import Recovery, reclaimed_payload

ORIGINAL_SUFFIX = ".before-repair-"
COPY_STEP_SIZE = 1 << 20
FILE_ID_SIZE = 8

Progress = Callable[[int, int], object]


@dataclass(slots=True)
class RepairPlan:
    """What a repair is going to do, in ``steps``; without any a start needs no help."""

    recovery: Recovery
    steps: list[str] = field(default_factory=list)


def plan_repair(directory: Path, filesystem: Filesystem | None = None, progress: Progress | None = None) -> RepairPlan:
    """Read a journal and say what has to be done. Raises FormatTooNew and OSError."""
    recovery = Recovery(directory, filesystem, forced=True)
    recovery.progress = progress
    for _ in recovery.records():
        pass
    plan = RepairPlan(recovery)
    for case, path in recovery.overcome:
        plan.steps.append(f"{case.name} {path.name}: {case.found}; the repair {WITH_REPAIR[case]}")
    if plan.steps:
        plan.steps += [str(damage) + "; a copy is put aside" for damage in recovery.damages if damage.size]
        plan.steps += [str(repair) for repair in recovery.repairs]
    return plan


def keep_original(directory: Path, progress: Progress | None = None) -> Path:
    """Copy the files of a journal into a new directory beside it, and return where that is. Raises OSError."""
    prefixes = (SEGMENT_PREFIX, CHECKPOINT_PREFIX, PROOF_PREFIX)
    files = [
        path
        for path in sorted(directory.iterdir())
        if any(number_in(path.name, prefix) is not None for prefix in prefixes)
    ]
    size = sum(path.stat().st_size for path in files)
    free = shutil.disk_usage(directory).free
    if size > free:
        raise OSError(f"a copy of {directory} takes {size} bytes, and {free} are free")
    number = 1
    while (target := directory.with_name(f"{directory.name}{ORIGINAL_SUFFIX}{number}")).exists():
        number += 1
    target.mkdir(mode=0o700)
    done = 0
    for path in files:
        with path.open("rb") as source, (target / path.name).open("xb") as copy:
            while piece := source.read(COPY_STEP_SIZE):
                copy.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(done, size)
            copy.flush()
            os.fsync(copy.fileno())
    for synced in (target, target.parent):
        descriptor = os.open(synced, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return target


def carry_out(plan: RepairPlan) -> None:
    """Do what the plan says. Interrupted, it can be planned and done anew. Raises OSError."""
    recovery = plan.recovery
    filesystem, directory = recovery.filesystem, recovery.directory
    recovery.apply()
    aside = quarantine_directory(directory)
    for case, path in recovery.overcome:
        if case in (Case.HEADER_NUMBER, Case.CHECKPOINT_BAD):
            filesystem.make_directory(aside)
            filesystem.rename(path, aside / path.name)
            filesystem.sync_directory(aside)
            filesystem.sync_directory(directory)
    for damage in recovery.damages:
        if damage.case is Case.SEQUENCE_REPEATED:
            _cut(filesystem, damage.path, damage.offset)
    # The numbers of segments have no gaps: empty ones stand for those that are missing.
    for case, path in recovery.overcome:
        if case is Case.NUMBER_GAP:
            number = number_in(path.name, SEGMENT_PREFIX) or 0
            write_file(filesystem, path, _header(number, 0, recovery.epoch).encode())
    _close_log(recovery)


def _cut(filesystem: Filesystem, path: Path, size: int) -> None:
    descriptor = filesystem.open(path)
    try:
        filesystem.truncate(descriptor, size)
        filesystem.sync(descriptor)
    finally:
        filesystem.close(descriptor)


def _header(number: int, durable: int, epoch: int) -> SegmentHeader:
    return SegmentHeader(int.from_bytes(os.urandom(FILE_ID_SIZE), "little"), number, durable, epoch, 0)


def _close_log(recovery: Recovery) -> None:
    """Add a segment which says that what is missing need not be there, and that the log was closed."""
    number, epoch, sequence = recovery.next_number, recovery.epoch + 1, recovery.sequence
    header = _header(number, sequence, epoch)
    # Those that repair has just made count as there.
    kept = {segment.number for segment in recovery.segments} | {
        number_in(path.name, SEGMENT_PREFIX) or 0 for case, path in recovery.overcome if case is Case.NUMBER_GAP
    }
    payload = reclaimed_payload([*sorted(kept), number], recovery.checkpoint_sequence)
    data = header.encode()
    data += encode(header.seed, sequence + 1, sequence, epoch, RECLAIMED, False, payload)
    data += encode(header.seed, sequence + 2, sequence + 1, epoch, STOPPED, False, b"")
    write_file(recovery.filesystem, segment_path(recovery.directory, number), data)
