"""Messages that a journal keeps after they were consumed: listing them by time, and putting them back into a queue.

They are read in a thread, a slice at a time, from the segments that are still there (``journal.retention_s`` and
``journal.retention_bytes``). Persistent messages of durable queues are found, those that are still in their queue too.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from broker.administration.selection import CHOSEN_MAX, SCANNED_MAX, Filter
from broker.durability.definitions import QueueDeleted, decode
from broker.durability.queue_log import RECORD_KINDS, decode_publish
from broker.logs import get_logger
from broker.publishing import publish_to_queues
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.routing.address import decode_address
from protocol.amqp.errors import not_found
from protocol.amqp.header_fields import find_traits, visible
from protocol.amqp.properties import BasicProperties, decode_properties
from storage.filesystem import LocalFilesystem
from storage.history import PastReader, PastRecord, Stretch
from storage.layout import HEADER_SIZE
from storage.retention import sealed_us
from storage.segment import Segment

SLICE_SIZE = 8 << 20
"""So many bytes are looked at before the event loop hears of it."""

SCANNED_SIZE_MAX = 256 << 20
"""So many bytes of the log are looked at in one call, whether there are messages to be found in them or not."""

BODIES_SIZE_MAX = 16 << 20
"""So large are all bodies of one call together, unless there is only one."""

CLOCK_SLACK_MS = 60_000
"""Segments are told by their times whether they can hold what is looked for; so much may the clock have been set."""

FOREVER_MS = 1 << 62

_DEFINITION = RECORD_KINDS["definition"]
_PUBLISH = RECORD_KINDS["publish"]
_PUBLISH_TIMED = RECORD_KINDS["publish_timed"]
_COUNT = struct.Struct("<I")
_TARGET = struct.Struct("<IQ")
_TIME = struct.Struct("<Q")

log = get_logger("history")

Place = tuple[int, int]
"""Where a message stands in the journal: the number of the segment, and the offset."""


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """A message as it was published.

    ``published_at_ms`` is 0 for one that was published while nothing was to be kept. ``position`` is that in its queue;
    what is not ``ready`` there any more was consumed, or is with a consumer, or waits for its time.
    """

    place: Place
    position: int
    published_at_ms: int
    exchange: str
    routing_key: str
    properties: BasicProperties
    body: bytes
    ready: bool = False


@dataclass(frozen=True, slots=True)
class KeptPage:
    """Some of the messages that were asked for, in the order in which they were published.

    ``following`` is the place to go on from, None at the end: a page may be short, or empty, without being the last.
    ``unreadable_count`` is how many damaged places were passed over, each of which may have been such a message.
    """

    queue_number: int
    messages: Sequence[KeptMessage]
    following: Place | None
    unreadable_count: int = 0


@dataclass(slots=True)
class _Search:
    """What is looked for in a thread, and what was found. ``place`` is where to go on."""

    directory: Path
    number: int
    since_ms: int
    until_ms: int
    matching: Filter | None
    count_max: int
    place: Place
    found: list[tuple[KeptMessage, Message]] = field(default_factory=list)
    unreadable: list[Place] = field(default_factory=list)
    bodies_size: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.found) >= self.count_max or self.bodies_size >= BODIES_SIZE_MAX

    def read_slice(self, stretch: Stretch) -> bool:
        """Look at some of a segment. Returns whether its end was reached."""
        reader = PastReader(LocalFilesystem(), self.directory, stretch, self.place[1])
        for record in reader.records(SLICE_SIZE):
            if record.payload is None:
                self.unreadable.append((stretch.number, record.offset))
            elif not self._take(record, stretch.number):
                self.place = (stretch.number, record.offset)
                return False
            if self.is_full:
                break
        is_stuck = reader.offset == max(self.place[1], HEADER_SIZE)
        self.place = (stretch.number, reader.offset)
        # A file that is shorter than it should be, or not this one any more, has no more either.
        return reader.offset >= stretch.end or (is_stuck and not self.is_full)

    def _take(self, record: PastRecord, segment: int) -> bool:
        """Take in a record, if it is one that is looked for. Returns False if there is no room for it."""
        if record.kind == _PUBLISH_TIMED:
            published_at_ms = _TIME.unpack_from(record.payload or b"")[0]
        elif record.kind == _PUBLISH:
            published_at_ms = 0
        else:
            return True
        if not self.since_ms <= published_at_ms < self.until_ms:
            return True
        position = _position_in(record, self.number)
        if position is None:
            return True
        message = _message_in(record)
        properties = decode_properties(visible(message.header))
        if self.matching is not None and not self.matching.matches(properties):
            return True
        if self.found and self.bodies_size + len(message.body) > BODIES_SIZE_MAX:
            self.bodies_size = BODIES_SIZE_MAX
            return False
        exchange, routing_key = decode_address(message.address)
        kept = KeptMessage(
            (segment, record.offset), position, published_at_ms, exchange, routing_key, properties, message.body
        )
        self.found.append((kept, message))
        self.bodies_size += len(message.body)
        return True


async def list_kept(
    vhost: Any,
    queue: str | int,
    *,
    since_ms: int = 0,
    until_ms: int = FOREVER_MS,
    from_place: Place | None = None,
    count_max: int = 100,
    matching: Filter | None = None,
) -> KeptPage:
    """Return messages that were published into a queue from ``since_ms`` until before ``until_ms``.

    The times are milliseconds since 1970 by the broker's clock when it took the message. A name means the queue that
    has it, or else the one that had it last; every other queue of the past is found by its number. Raises
    ``ChannelException`` (NOT_FOUND) for a name that nothing in the journal knows.
    """
    search = await _search(vhost, queue, since_ms, until_ms, from_place, count_max, matching)
    present = _find_by_number(vhost, search.number)
    ready = set() if present is None else _ready_positions(present, [kept.position for kept, _ in search.found])
    messages = [replace(kept, ready=True) if kept.position in ready else kept for kept, _ in search.found]
    return KeptPage(search.number, messages, _following(vhost, search), _count_unreadable(vhost, search))


async def put_back(vhost: Any, places: Sequence[Place], into: str) -> int:
    """Publish the messages at these places into the queue ``into``, all or none. Returns how many it has taken.

    What is not there any more, or cannot be read, is left out, and so is what the queue refuses. Raises
    ``ChannelException`` (NOT_FOUND) for an unknown queue, ``ValueError`` for more than one call takes.
    """
    if len(places) > CHOSEN_MAX:
        raise ValueError(f"{len(places)} places; at most {CHOSEN_MAX} can be given at a time")
    vhost.find_queue(into)
    journal = vhost.journal.journal
    segments = {segment.number: Stretch.of(segment) for segment in journal.segments()}
    wanted = sorted({place for place in places if place[0] in segments})
    messages = await asyncio.to_thread(_read_places, journal.directory, segments, wanted)
    # In their order, and as often as they were asked for.
    return _publish(vhost, into, [messages[place] for place in places if place in messages])


async def put_back_range(
    vhost: Any,
    queue: str | int,
    into: str,
    *,
    since_ms: int = 0,
    until_ms: int = FOREVER_MS,
    from_place: Place | None = None,
    count_max: int = CHOSEN_MAX,
    matching: Filter | None = None,
) -> tuple[int, Place | None]:
    """Do as ``put_back`` with the messages that ``list_kept`` would return.

    Returns how many the queue has taken, and the place to go on from, None at the end. Each call is all or none.
    What was published by this very call, and those before it, is not put back again if ``until_ms`` is in the past.
    """
    vhost.find_queue(into)
    search = await _search(vhost, queue, since_ms, until_ms, from_place, count_max, matching)
    count = _publish(vhost, into, [message for _, message in search.found])
    return count, _following(vhost, search)


def _publish(vhost: Any, into: str, messages: Iterable[Message]) -> int:
    # It may have been deleted in the meantime.
    queue = vhost.find_queue(into)
    count = 0
    vhost.journal.begin_unit()
    try:
        for message in messages:
            again = Message(message.address, message.header, message.body, True, find_traits(message.header))
            published = publish_to_queues(vhost, [queue], again, was_in=[queue.name], moved=True)
            count += published.queue_count
    finally:
        vhost.journal.end_unit()
    return count


async def _search(
    vhost: Any,
    queue: str | int,
    since_ms: int,
    until_ms: int,
    from_place: Place | None,
    count_max: int,
    matching: Filter | None,
) -> _Search:
    journal = vhost.journal.journal
    number = queue if isinstance(queue, int) else await find_number(vhost, queue)
    search = _Search(
        journal.directory, number, since_ms, until_ms, matching, min(count_max, CHOSEN_MAX), from_place or (0, 0)
    )
    for _ in range(SCANNED_SIZE_MAX // SLICE_SIZE):
        segment = _next_segment(journal.segments(), search)
        if segment is None or search.is_full:
            break
        stretch = Stretch.of(segment)
        try:
            ended = await asyncio.to_thread(search.read_slice, stretch)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                search.unreadable.append(search.place)
                log.error("history cannot be read", vhost=vhost.name, segment=segment.number, reason=str(error))
            ended = True
        if ended:
            search.place = (segment.number, max(search.place[1], stretch.end))
    return search


def _next_segment(segments: Sequence[Segment], search: _Search) -> Segment | None:
    """Return the segment to go on in, None at the end of the log, and of the time that is asked for."""
    for index, segment in enumerate(segments):
        if segment.number < search.place[0]:
            continue
        if segment.number > search.place[0]:
            search.place = (segment.number, 0)
        if search.place[1] >= segment.written_size:
            if segment.sealed and segment.written_size >= segment.size:
                continue
            return None
        if search.until_ms + CLOCK_SLACK_MS <= segment.created_us // 1000:
            return None
        if sealed_us(segments, (), index) // 1000 + CLOCK_SLACK_MS < search.since_ms:
            continue
        return segment
    return None


def _following(vhost: Any, search: _Search) -> Place | None:
    return None if _next_segment(vhost.journal.journal.segments(), search) is None else search.place


def _count_unreadable(vhost: Any, search: _Search) -> int:
    present = {segment.number for segment in vhost.journal.journal.segments()}
    # Of a segment that has gone meanwhile nothing could be read.
    places = [place for place in search.unreadable if place[0] in present]
    for segment, offset in places[:1]:
        log.error("messages of the past cannot be read", vhost=vhost.name, segment=segment, offset=offset,
                  places=len(places))  # fmt: skip
    return len(places)


async def find_number(vhost: Any, name: str) -> int:
    """Return the number in the journal of the durable queue that has a name, or had it last.

    Raises ``ChannelException`` (NOT_FOUND) if nothing in the journal knows it.
    """
    queue = vhost.queues.get(name)
    if queue is not None and queue.log is not None:
        number: int = queue.log.number
        return number
    journal = vhost.journal.journal
    # That a queue was deleted stands behind all its messages, so it is there as long as one of them is.
    for segment in reversed(journal.segments()):
        place = 0
        found: list[int] = []
        stretch = Stretch.of(segment)
        while place < stretch.end:
            try:
                place = await asyncio.to_thread(_find_deletions, journal.directory, stretch, place, name, found)
            except OSError as error:
                log.error("history cannot be read", vhost=vhost.name, segment=segment.number, reason=str(error))
                break
        if found:
            return found[-1]
    raise not_found(f"no queue '{name}' in vhost '{vhost.name}', and none of the past")


def _find_deletions(directory: Path, stretch: Stretch, offset: int, name: str, found: list[int]) -> int:
    reader = PastReader(LocalFilesystem(), directory, stretch, offset)
    for record in reader.records(SLICE_SIZE):
        if record.kind == _DEFINITION and record.payload is not None:
            definition = decode(bytes(record.payload))
            if isinstance(definition, QueueDeleted) and definition.name == name:
                found.append(definition.number)
    return reader.offset if reader.offset > offset else stretch.end


def _read_places(directory: Path, segments: dict[int, Stretch], places: Sequence[Place]) -> dict[Place, Message]:
    """Read messages; ``places`` are in order. Raises ValueError if they are too large together."""
    messages: dict[Place, Message] = {}
    size = 0
    for number, in_segment in groupby(places, itemgetter(0)):
        reader: PastReader | None = None
        for place in in_segment:
            if reader is None or not reader.offset <= place[1] < reader.offset + SLICE_SIZE:
                reader = PastReader(LocalFilesystem(), directory, segments[number], place[1])
            message = _read_one(reader, place[1])
            if message is None:
                reader = None
                continue
            size += len(message.body)
            if messages and size > BODIES_SIZE_MAX:
                raise ValueError(f"these messages have more than {BODIES_SIZE_MAX} bytes; put them back in parts")
            messages[place] = message
    return messages


def _read_one(reader: PastReader, offset: int) -> Message | None:
    try:
        for record in reader.records(offset + 1 - reader.offset):
            if record.offset == offset and record.payload is not None and record.kind in (_PUBLISH, _PUBLISH_TIMED):
                return _message_in(record)
    except OSError as error:
        log.error("history cannot be read", reason=str(error))
    return None


def _message_in(record: PastRecord) -> Message:
    return decode_publish(bytes(record.payload or b""), record.kind == _PUBLISH_TIMED)[1]


def _position_in(record: PastRecord, number: int) -> int | None:
    """Return the position that a message has in the queue of a number, None if it is not for that queue."""
    payload = record.payload or memoryview(b"")
    begin = _TIME.size if record.kind == _PUBLISH_TIMED else 0
    count = _COUNT.unpack_from(payload, begin)[0]
    begin += _COUNT.size
    for held_number, position in _TARGET.iter_unpack(payload[begin : begin + count * _TARGET.size]):
        if held_number == number:
            found: int = position
            return found
    return None


def _find_by_number(vhost: Any, number: int) -> Queue | None:
    return next((one for one in vhost.all_queues() if one.log is not None and one.log.number == number), None)


def _ready_positions(queue: Queue, positions: Collection[int]) -> set[int]:
    if queue.settings.group_header is None:
        return {entry[0] for position in positions for entry in queue.entries(position, 1)}
    return {entry[0] for entry in queue.entries(min(positions, default=0), SCANNED_MAX)}
