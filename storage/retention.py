"""How long segments stay in which nothing is needed any more.

A segment is as old as its youngest record. The header of segment N + 2 is made when the log goes on from N to N + 1,
so what that header says is when the last record was written into N, or later: after a restart both are made anew.
"""

from collections.abc import Sequence

from storage.options import JournalOptions
from storage.segment import Segment

LEAD = 2
"""So many segments later is the one whose header tells when a segment was sealed."""

SECOND_US = 1_000_000
NEVER_US = 1 << 62

INTERVAL_US = SECOND_US
"""So often it is looked whether something is too old."""


class Retention:
    """Which of the oldest segments may go, as the options of a journal say.

    They go when they are older than ``retention_s``, or while those that are kept are larger than ``retention_bytes``
    together, whichever comes first. Without either nothing is kept.
    """

    def __init__(self, options: JournalOptions) -> None:
        self.is_on = bool(options.retention_s or options.retention_bytes)
        self._age_max_us = options.retention_s * SECOND_US
        self._size_max = options.retention_bytes
        self._looked_at: tuple[int, int] | None = None
        self._looked_us = 0
        self._count = 0

    def count(self, segments: Sequence[Segment], dead_count: int, following: Sequence[Segment], now_us: int) -> int:
        """Return how many of the first ``dead_count`` segments, in which nothing is needed, may go.

        ``segments`` are the sealed ones, oldest first, and ``following`` those that come after them.
        """
        if not self.is_on or dead_count == 0:
            return dead_count
        # For each commit that would be too much: there may be many of them.
        looked_at = (segments[0].number, dead_count)
        if looked_at != self._looked_at or not 0 <= now_us - self._looked_us < INTERVAL_US:
            self._looked_at, self._looked_us = looked_at, now_us
            self._count = self._look(segments, dead_count, following, now_us)
        return self._count

    def _look(self, segments: Sequence[Segment], dead_count: int, following: Sequence[Segment], now_us: int) -> int:
        size = sum(segment.size for segment in segments[:dead_count])
        for index in range(dead_count):
            is_old = self._age_max_us and sealed_us(segments, following, index) + self._age_max_us < now_us
            is_too_much = self._size_max and size > self._size_max
            if not is_old and not is_too_much:
                return index
            size -= segments[index].size
        return dead_count


def sealed_us(segments: Sequence[Segment], following: Sequence[Segment], index: int) -> int:
    """Return when a segment was sealed, or something later; a time that never comes if nothing says it."""
    number = segments[index].number + LEAD
    later = [*segments[index + 1 : index + 1 + 2 * LEAD], *following]
    return min((one.created_us for one in later if one.number >= number and one.created_us), default=NEVER_US)
