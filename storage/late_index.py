"""When a sealed segment gets its index: when it stays. Where consumers keep up, an index would be work for nothing."""

from collections import deque

from storage.housekeeper import Housekeeper
from storage.layout import HEADER_SIZE
from storage.replayer import Replayer
from storage.segment import Segment

INDEXED_BEHIND = 4
"""A segment gets its index when so many later ones have been begun, if it is needed still."""


class LateIndexes:
    """The segments that are sealed and on disk, and have no index yet. Without a ``replayer`` they get none."""

    def __init__(self, housekeeper: Housekeeper, replayer: Replayer | None) -> None:
        self._housekeeper = housekeeper
        self._replayer = replayer
        self._segments: deque[Segment] = deque()

    def write(self, segment: Segment) -> None:
        """Have the index of a segment written."""
        if self._replayer is not None and segment.size > HEADER_SIZE:
            self._housekeeper.index(segment, self._replayer)

    def add(self, segment: Segment) -> None:
        """Keep a segment in mind."""
        self._segments.append(segment)

    def write_behind(self, current: int, behind: int = INDEXED_BEHIND) -> None:
        """Have the indexes written of those that are needed still, so far behind the segment ``current``."""
        while self._segments and current - self._segments[0].number >= behind:
            segment = self._segments.popleft()
            if segment.live > 0:
                self.write(segment)
