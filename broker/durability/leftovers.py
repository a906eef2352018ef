"""What a pass over a segment of the journal could not move: damaged records, and what the disk does not give back.

Nobody may read those messages for years, and the segment would stay for them. So their holders are searched for them,
whatever their records say. Those in memory are written anew. The others are read one by one, as if a consumer wanted
them: what is damaged leaves its queue then, with a copy in the quarantine, and is reported.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from storage.segment import Segment

# The bounds of one step.
ENTRIES_PER_STEP = 32768
PARTS_PER_STEP = 1024
REWRITTEN_PER_STEP = 128
REWRITTEN_BYTES_PER_STEP = 1 << 18

FOUND_MAX = 100_000
"""Of a segment with more of them, the rest waits for a later pass."""

READ_COUNT_MAX = 512
READ_BYTES_MAX = 4 << 20
"""How much is read at once of what is paged out, with one message that is larger."""

Place = tuple[int, int, int, int]
"""The number of a queue, a position there, a location, and the size of the body, or -1 if it is in memory."""


class Leftovers:
    """The steps of dealing with what is left in a segment."""

    def __init__(self, mover: Any, journal: Any, segment: Segment, pager: Any) -> None:
        self._mover = mover
        self._journal = journal
        self._segment = segment
        self._pager = pager
        self._reading_count = 0
        self._rewritten_count = 0
        self._steps = self._clear()

    def step(self) -> bool:
        """Do a little of it. Returns whether that was the end."""
        return next(self._steps, True)

    @property
    def waits(self) -> bool:
        """Whether nothing can be done before something has been written or read."""
        return self._reading_count > 0 or self._mover.has_copies

    def _clear(self) -> Iterator[bool]:
        while self._mover.has_copies:
            yield False
        found: list[Place] = []
        if self._segment.live:
            yield from self._search(found)
            yield from self._rewrite(found)
            self._report()
        if self._pager is not None:
            # What the disk refuses for the first time may be read in the next pass.
            while chances := self._pager.give_last_chance(self._segment.number, READ_COUNT_MAX):
                yield from self._read(chances)
                yield from self._rewrite(chances)
            yield from self._read(found)
            yield from self._rewrite(found)

    def _search(self, found: list[Place]) -> Iterator[bool]:
        looked_at = 0
        for number, contents in list(self._journal.holders.items()):
            for part in contents.everywhere():
                position = 0
                while True:
                    here: list[tuple[int, int, int]] = []
                    position = part.find_in(self._segment.number, position, ENTRIES_PER_STEP, here)
                    found += [(number, *place) for place in here]
                    looked_at += min(len(part), ENTRIES_PER_STEP) + ENTRIES_PER_STEP // PARTS_PER_STEP
                    if len(found) > FOUND_MAX:
                        return
                    if looked_at >= ENTRIES_PER_STEP:
                        looked_at = 0
                        yield False
                    if position == 0:
                        break
        found += self._mover.unacked_places()

    def _rewrite(self, found: list[Place]) -> Iterator[bool]:
        """Write anew what is in memory, for all of its holders at once."""
        count = size_bytes = 0
        found.sort(key=itemgetter(2))
        for location, places in groupby(found, key=itemgetter(2)):
            written_bytes = self._mover.rewrite(location, [(number, at) for number, at, _, _ in places])
            self._rewritten_count += written_bytes > 0
            size_bytes += written_bytes
            count += 1
            if count >= REWRITTEN_PER_STEP or size_bytes >= REWRITTEN_BYTES_PER_STEP:
                count = size_bytes = 0
                yield False

    def _report(self) -> None:
        if self._rewritten_count and self._mover.damaged_count and self._pager is not None:
            self._pager.report_rewritten(self._segment.number, self._mover.damaged_offset, self._rewritten_count)

    def _read(self, found: list[Place]) -> Iterator[bool]:
        """Have read what is paged out, so that what cannot be read leaves its queue."""
        unread = [place for place in found if place[3] >= 0]
        while unread:
            size_bytes = 0
            wanted: defaultdict[int, list[int]] = defaultdict(list)
            for _ in range(min(len(unread), READ_COUNT_MAX)):
                number, position, _, body_bytes = unread.pop()
                wanted[number].append(position)
                size_bytes += body_bytes
                if size_bytes >= READ_BYTES_MAX:
                    break
            for number, positions in wanted.items():
                contents = self._journal.holders.get(number)
                if contents is not None:
                    self._reading_count += 1
                    self._pager.want(contents, positions, self._on_read)
            while self._reading_count:
                yield False

    def _on_read(self) -> None:
        self._reading_count -= 1
        descriptor = self._journal.journal.completion_fd
        if descriptor >= 0:
            # The compactor goes on where this is taken note of.
            os.eventfd_write(descriptor, 1)
