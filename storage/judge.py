"""Judges the place where the whole records of a segment end, and segments whose header is damaged.

It knows nothing of iteration: who reads a log, from its records or from an index, asks about one place at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass

from storage.cases import HEADER_CASES, Case
from storage.layout import HEADER_SIZE, HeaderError, SegmentHeader
from storage.record import HEADER_SIZE as RECORD_HEADER_SIZE
from storage.record import looks_like, peek, search, size_of, solve_seed


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a segment's records from others, and how it is known.

    ``durable`` is 0 and ``header`` None where it came from the records, because the header is damaged: then ``case``
    says how.
    """

    seed: int
    epoch: int
    durable: int
    header: SegmentHeader | None = None
    case: Case | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the whole records of a segment end.

    ``sequence`` is that of the record that should be there, or, unless it ``is_known``, the lowest that it can be.
    ``attested`` is the highest sequence of which anything says that it had been on disk.
    """

    data: bytes
    offset: int
    sequence: int
    is_known: bool
    identity: Identity
    attested: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is at a place.

    Where something is damaged (``Case.action`` is ``SKIP``), the log goes on at ``resume_offset`` with the record
    ``resume_sequence``; 0: nothing more in this file can be read. ``lost_sequence`` is the first record that is lost,
    0 if nobody knows, and ``kind`` what it was, as far as its header can be believed.
    """

    case: Case
    resume_offset: int = 0
    resume_sequence: int = 0
    lost_sequence: int = 0
    kind: int | None = None


def identify(data: bytes, sequence: int) -> Identity | Case:
    """Find out what a segment's records can be told by, from its header or else from its records.

    Records before ``sequence`` do not count: they are of the file's earlier life. Where there is nothing to tell by,
    the header's state is returned.
    """
    try:
        header = SegmentHeader.decode(data[:HEADER_SIZE])
    except HeaderError as error:
        case = HEADER_CASES[error.problem]
        solved = solve_seed(data, HEADER_SIZE, max(sequence, 1))
        return case if solved is None else Identity(*solved, 0, None, case)
    return Identity(header.seed, header.epoch, header.durable, header)


def judge(place: Place, later_has_records: Callable[[], bool]) -> Verdict:
    """Name the state of a place that is not the end of its file and does not follow a mark.

    ``later_has_records`` says whether a later segment has any record. A segment is written only after all before it
    were synced, so that is a proof.
    """
    data, offset, identity = place.data, place.offset, place.identity
    key = identity.seed, identity.epoch
    expected = place.sequence if place.is_known else max(place.sequence, identity.durable + 1)
    header = peek(data, offset, *key)
    if header is not None and header[5]:
        if header[1] < expected:
            return Verdict(Case.SEQUENCE_REPEATED, len(data), 0)
        if offset > HEADER_SIZE and _last_proved(place, expected, header[1], later_has_records) + 1 < header[1]:
            return Verdict(Case.TORN_TAIL)
        return Verdict(Case.SEQUENCE_GAP, offset, header[1], expected)
    if header is not None and header[1] < expected:
        header = None
    found, proof = search(data, offset, *key, expected)
    proving = expected
    if header is not None:
        proving = header[1]
    elif not place.is_known and found >= 0:
        # Nothing says how many records there were: all of them have to be proved.
        proving = max(expected, _sequence_at(data, found, identity) - 1)
    if proving != expected:
        _, proof = search(data, offset, *key, proving)
    if proof >= 0 or proving <= place.attested or later_has_records():
        return _damaged(place, expected, header, found, later_has_records)
    if found >= 0 or looks_like(data, offset, expected, identity.epoch):
        return Verdict(Case.TORN_TAIL)
    if offset == HEADER_SIZE:
        return Verdict(Case.SEGMENT_UNUSED)
    if not any(data[offset : offset + RECORD_HEADER_SIZE]):
        return Verdict(Case.LOG_END)
    return Verdict(Case.STALE_TAIL)


def _damaged(
    place: Place,
    expected: int,
    header: tuple[int, int, int, bool, int, bool] | None,
    found: int,
    later_has_records: Callable[[], bool],
) -> Verdict:
    data, offset = place.data, place.offset
    first_lost = expected if place.is_known else 0
    if header is not None:
        kind, sequence, _, _, payload_size, _ = header
        end = offset + size_of(payload_size)
        if not offset < found < end:
            # Of those that are missing before it nobody knows what they were.
            known_kind = kind if first_lost in (0, sequence) else None
            return Verdict(Case.RECORD_DAMAGED, end, sequence + 1, first_lost or sequence, known_kind)
    if found >= 0:
        # What is missing behind the last record that had been on disk is torn.
        resume = _last_proved(place, expected, _sequence_at(data, found, place.identity), later_has_records) + 1
        return Verdict(Case.RECORD_DAMAGED, found, resume, first_lost)
    if offset == HEADER_SIZE and expected <= place.identity.durable and not later_has_records():
        # The record was on disk before this file was made: it was in the one before.
        return Verdict(Case.END_MISSING)
    # Something stays of the stretch, also if it is all zeros: without it the next start would miss the records and
    # have no place where they were.
    used_size = len(data.rstrip(b"\0"))
    end = max(used_size + -used_size % 8, offset + RECORD_HEADER_SIZE)
    return Verdict(Case.RECORD_DAMAGED, min(end, len(data)), 0, first_lost)


def _last_proved(place: Place, first: int, end: int, later_has_records: Callable[[], bool]) -> int:
    """Return the last of the records from ``first`` to ``end``, exclusive, that had been on disk; as a rule all had."""
    key = place.identity.seed, place.identity.epoch
    last = end - 1
    if last <= place.attested or search(place.data, place.offset, *key, last)[1] >= 0 or later_has_records():
        return last
    proved = max(place.attested, first - 1)
    while (proof := search(place.data, place.offset, *key, proved + 1)[1]) >= 0:
        header = peek(place.data, proof, *key)
        assert header is not None  # noqa: S101
        proved = header[2]
    return proved


def _sequence_at(data: bytes, offset: int, identity: Identity) -> int:
    header = peek(data, offset, identity.seed, identity.epoch)
    return header[1] if header is not None else 0
