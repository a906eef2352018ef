"""``haypile journal check|inspect|repair``: looking at journals of a broker that is not running, and helping them.

Leaves with 0 if all is well, 1 if something is damaged (and, for a repair, still is), 2 if it could not look.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from broker.durability.record_text import describe, kind_name
from broker.progress import ProgressBar
from storage.check import Report, check
from storage.checkpoint import read_checkpoint
from storage.errors import DirectoryLocked, FormatTooNew
from storage.filesystem import LocalFilesystem
from storage.layout import CHECKPOINT_PREFIX, SEGMENT_PREFIX, HeaderError, number_in
from storage.lock import LOCK_NAME, DirectoryLock
from storage.repair import ORIGINAL_SUFFIX, carry_out, keep_original, plan_repair
from storage.survey import RecordSeen, SegmentSeen, survey_segment

FINE = 0
DAMAGED = 1
CANNOT_LOOK = 2
VHOSTS_NAME = "vhosts"


class _CannotLookError(Exception):
    """There is no journal, or a broker is at work in it."""


def main(arguments: list[str]) -> int:
    """Run a tool, and return the exit code. The words after ``haypile journal`` are ``arguments``."""
    parsed = _parser().parse_args(arguments)
    try:
        journals = _journals_in(parsed.directory)
        with _locked(parsed.directory, for_writing=parsed.tool is _repair):
            codes: list[int] = [parsed.tool(journal, parsed) for journal in journals]
            return max(codes)
    except (_CannotLookError, DirectoryLocked, FormatTooNew, OSError) as error:
        sys.stderr.write(f"haypile: {error}\n")
        return CANNOT_LOOK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="haypile journal",
        description="Look at journals, and help those that a start refuses. The broker must not be running.",
        epilog="Exit codes: 0 all is well, 1 something is damaged, 2 it could not be looked at.",
        allow_abbrev=False,
    )
    tools = parser.add_subparsers(required=True, metavar="TOOL")
    for name, tool, text in (
        ("check", _check, "read everything, and say what is damaged and what the next start will do"),
        ("inspect", _inspect, "show what is in the files"),
        ("repair", _repair, "make a journal that a start refuses into one that can be started"),
    ):
        command = tools.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(tool=tool)
        command.add_argument("directory", metavar="DIR", type=Path, help="the data directory, or one journal in it")
        if tool is not _repair:
            command.add_argument("--json", action="store_true", help="print one JSON object a line")
        if tool is _inspect:
            command.add_argument("--records", action="store_true", help="show each record too")
        if tool is _repair:
            command.add_argument("--yes", action="store_true", help="do not ask")
            command.add_argument("--dry-run", action="store_true", help="only say what would be done")
    return parser


def _journals_in(directory: Path) -> list[Path]:
    if any(_is_journal_file(path) for path in directory.iterdir()):
        return [directory]
    vhosts = directory / VHOSTS_NAME
    found = sorted(vhosts.iterdir()) if vhosts.is_dir() else []
    journals = [path for path in found if path.is_dir() and ORIGINAL_SUFFIX not in path.name]
    if not journals:
        raise _CannotLookError(f"there is no journal in {directory}")
    return journals


def _is_journal_file(path: Path) -> bool:
    return any(number_in(path.name, prefix) is not None for prefix in (SEGMENT_PREFIX, CHECKPOINT_PREFIX))


@contextlib.contextmanager
def _locked(directory: Path, *, for_writing: bool) -> Iterator[None]:
    """Keep brokers out. While one writes, the end of a log looks torn, so that not even looking at it makes sense."""
    directory = directory.resolve()
    data_directory = directory.parent.parent if directory.parent.name == VHOSTS_NAME else directory
    # A copy of a journal that is no data directory has no lock, and gets none from being looked at.
    if not (data_directory / LOCK_NAME).exists() and not for_writing:
        yield
        return
    try:
        lock = DirectoryLock(data_directory)
    except PermissionError:
        if for_writing:
            raise
        sys.stderr.write("haypile: no permission to lock the directory; make sure that no broker runs on it\n")
        yield
        return
    with lock:
        yield


# check


def _check(directory: Path, parsed: argparse.Namespace) -> int:
    bar = ProgressBar(directory.name)
    report = check(directory, progress=bar.show)
    bar.clear()
    if parsed.json:
        _print_json({"directory": str(directory), **_report_fields(report)})
    else:
        _print_report(directory, report)
    if report.too_new:
        return CANNOT_LOOK
    return DAMAGED if report.damage is not None or report.damages else FINE


def _report_fields(report: Report) -> dict[str, Any]:
    return {
        "segments": report.segment_count,
        "records": report.record_count,
        "payload_bytes": report.payload_size,
        "sequence": report.sequence,
        "checkpoint_sequence": report.checkpoint_sequence,
        "clean_stop": report.clean,
        "cut_bytes": report.cut_size,
        "lost_records": report.lost_count,
        "damages": [
            {
                "case": damage.case.name,
                "file": damage.path.name,
                "offset": damage.offset,
                "size": damage.size,
                "sequence": damage.sequence,
                "records": damage.count,
                "kind": None if damage.kind is None else kind_name(damage.kind),
                "detail": damage.detail,
            }
            for damage in report.damages
        ],
        "next_start": report.repairs,
        "refused": report.damage,
    }


def _print_report(directory: Path, report: Report) -> None:
    print(
        f"{directory}: {report.record_count} records up to {report.sequence} in {report.segment_count} segments, "
        f"checkpoint {report.checkpoint_sequence}, {'cleanly stopped' if report.clean else 'not cleanly stopped'}"
    )
    for damage in report.damages:
        print(f"  damaged: {damage}")
    for repair in report.repairs:
        print(f"  the next start: {repair}")
    if report.damage is not None:
        print(f"  A START IS REFUSED: {report.damage}")
    elif report.damages:
        print(
            f"  {len(report.damages)} damaged places, none of which keeps the broker from starting: a start puts aside"
        )
        print("  those in segments that it reads, and those behind an index when their message is read")
    else:
        print("  no damage")


# inspect


def _inspect(directory: Path, parsed: argparse.Namespace) -> int:
    filesystem = LocalFilesystem()
    paths = [directory / name for name in filesystem.list(directory)]
    broken = False
    bar = ProgressBar(directory.name)
    if not parsed.json:
        print(f"{directory}:")
    for path in paths:
        if number_in(path.name, CHECKPOINT_PREFIX) is not None:
            broken |= not _show_checkpoint(path, parsed.json)
    segments = [path for path in paths if number_in(path.name, SEGMENT_PREFIX) is not None]
    for done, path in enumerate(segments):
        bar.show(done, len(segments))
        number = number_in(path.name, SEGMENT_PREFIX) or 0

        def show(record: RecordSeen, path: Path = path) -> None:
            _show_record(path, record, parsed.json)

        seen = survey_segment(filesystem, path, number, show if parsed.records else None)
        bar.clear()
        _show_segment(path, seen, parsed.json)
        broken |= seen.problem is not None or bool(seen.broken)
    return DAMAGED if broken else FINE


def _show_checkpoint(path: Path, as_json: bool) -> bool:
    fields: dict[str, Any] = {"checkpoint": str(path)}
    try:
        checkpoint = read_checkpoint(LocalFilesystem(), path)
        fields |= {"sequence": checkpoint.sequence, "epoch": checkpoint.epoch, "bytes": len(checkpoint.payload)}
    except HeaderError as error:
        fields["problem"] = str(error)
    if as_json:
        _print_json(fields)
    else:
        print(f"  {path.name}: " + ", ".join(f"{key} {value}" for key, value in list(fields.items())[1:]))
    return "problem" not in fields


def _show_segment(path: Path, seen: SegmentSeen, as_json: bool) -> None:
    kinds = {
        kind_name(kind): {"records": count, "payload_bytes": size} for kind, (count, size) in sorted(seen.kinds.items())
    }
    created = datetime.fromtimestamp(seen.created_us / 1e6, UTC).isoformat() if seen.created_us else None
    if as_json:
        fields = asdict(seen) | {"kinds": kinds, "created": created}
        del fields["created_us"]
        _print_json({"segment": str(path), **fields})
        return
    print(
        f"  {path.name}: records {seen.first_sequence} to {seen.last_sequence}, {seen.used_size} of {seen.size} bytes "
        f"used, epoch {seen.epoch}, created {created or 'unknown'}" + (f", {seen.ended_by}" if seen.ended_by else "")
    )
    for name, counted in kinds.items():
        print(f"    {name}: {counted['records']} records, {counted['payload_bytes']} bytes of payload")
    if seen.problem is not None:
        print(f"    damaged: {seen.problem}")
    for offset, size in seen.broken:
        print(f"    damaged: no whole record at offset {offset}, {size} bytes")


def _show_record(path: Path, record: RecordSeen, as_json: bool) -> None:
    said = {"damaged": True} if record.payload is None else describe(record.kind, record.payload)
    fields = {
        "record": record.sequence,
        "file": path.name,
        "offset": record.offset,
        "size": record.size,
        "kind": kind_name(record.kind),
        "unit_ends": record.unit_ends,
        "durable": record.durable,
        **said,
    }
    if as_json:
        _print_json(fields)
    else:
        words = " ".join(f"{key}={json.dumps(value)}" for key, value in said.items())
        unit = "" if record.unit_ends else " (its unit goes on)"
        print(f"    {record.sequence} at offset {record.offset}: {kind_name(record.kind)}{unit} {words}".rstrip())


def _print_json(fields: dict[str, Any]) -> None:
    print(json.dumps(fields))


# repair


def _repair(directory: Path, parsed: argparse.Namespace) -> int:
    bar = ProgressBar(directory.name)
    plan = plan_repair(directory, progress=bar.show)
    bar.clear()
    if not plan.steps:
        print(f"{directory}: nothing to repair; a start does by itself what there is to do")
        return FINE
    print(f"{directory}: the repair will copy the journal to {directory.name}{ORIGINAL_SUFFIX}N beside it, and then")
    for step in plan.steps:
        print(f"  {step}")
    if parsed.dry_run:
        return DAMAGED
    if not parsed.yes and not _confirmed():
        print("nothing was done")
        return DAMAGED
    original = keep_original(directory, bar.show)
    bar.clear()
    carry_out(plan)
    report = check(directory)
    print(f"{directory}: repaired; the original is in {original}")
    if report.damage is not None:
        print(f"  A START IS STILL REFUSED: {report.damage}")
        return DAMAGED
    return FINE


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise _CannotLookError("standard input is no terminal to ask at: repeat it with --yes")
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
