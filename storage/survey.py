"""Walks over everything in a segment, for people who want to see it: what is whole, and what is not.

It judges nothing: whether the next start serves a record is for ``storage.recovery`` to say.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from storage.damage import read_around
from storage.filesystem import Filesystem
from storage.judge import Identity, identify
from storage.layout import HEADER_SIZE
from storage.record import HEADER_SIZE as RECORD_HEADER_SIZE
from storage.record import RECLAIMED, SEALED, STOPPED, peek, search, size_of

MARKS = {SEALED: "sealed", STOPPED: "stopped", RECLAIMED: "reclaimed"}


@dataclass(frozen=True, slots=True)
class RecordSeen:
    """A record whose header can be believed; ``payload`` is None if it is damaged."""

    offset: int
    sequence: int
    durable: int
    kind: int
    unit_ends: bool
    size: int
    payload: bytes | None


@dataclass(slots=True)
class SegmentSeen:
    """A segment. ``problem`` says what its header suffers from, None if it is whole.

    ``kinds`` has how many whole records of each kind there are, and the bytes of their payloads; ``broken`` the
    stretches (offset, size) without a whole record up to the last one.
    """

    number: int
    size: int
    problem: str | None = None
    epoch: int = 0
    created_us: int = 0
    first_sequence: int = 0
    last_sequence: int = 0
    used_size: int = 0
    ended_by: str | None = None
    kinds: dict[int, tuple[int, int]] = field(default_factory=dict)
    broken: list[tuple[int, int]] = field(default_factory=list)


def survey_segment(
    filesystem: Filesystem, path: Path, number: int, on_record: Callable[[RecordSeen], object] | None = None
) -> SegmentSeen:
    """Look at a segment; ``on_record`` gets each record. Raises OSError."""
    data = read_around(filesystem, path)
    seen = SegmentSeen(number, len(data))
    identity = identify(data, 1)
    if not isinstance(identity, Identity):
        seen.problem = identity.found
        return seen
    seen.problem = identity.case.found if identity.case is not None else None
    seen.epoch = identity.epoch
    if identity.header is not None:
        seen.created_us = identity.header.created_us
    offset = seen.used_size = HEADER_SIZE
    while offset + RECORD_HEADER_SIZE <= len(data) and seen.ended_by is None:
        header = peek(data, offset, identity.seed, identity.epoch)
        if header is None:
            found, _ = search(data, offset, identity.seed, identity.epoch, 0)
            if found < 0:
                break
            seen.broken.append((offset, found - offset))
            offset = found
            continue
        record = _record(data, offset, header)
        if record.payload is None:
            seen.broken.append((offset, record.size))
        else:
            _count(seen, record)
        if on_record is not None:
            on_record(record)
        offset += record.size
        seen.used_size = min(offset, len(data))
    return seen


def _record(data: bytes, offset: int, header: tuple[int, int, int, bool, int, bool]) -> RecordSeen:
    kind, sequence, durable, unit_ends, payload_size, intact = header
    begin = offset + RECORD_HEADER_SIZE
    payload = data[begin : begin + payload_size] if intact else None
    return RecordSeen(offset, sequence, durable, kind, unit_ends, size_of(payload_size), payload)


def _count(seen: SegmentSeen, record: RecordSeen) -> None:
    count, size = seen.kinds.get(record.kind, (0, 0))
    seen.kinds[record.kind] = (count + 1, size + len(record.payload or b""))
    seen.first_sequence = seen.first_sequence or record.sequence
    seen.last_sequence = record.sequence
    if record.kind in (SEALED, STOPPED):
        seen.ended_by = MARKS[record.kind]
