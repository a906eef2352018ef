"""Compaction: what is still needed of a segment that is needed for little is copied to the end of the log.

It takes the oldest segment that is needed, as the log may only go from there where the owner cannot tell more; only
where that one was in vain, another that could go before it. A worker reads it
piece by piece, at a bounded rate, and the owner moves what it needs of each piece, in steps that its event loop does
not feel. The segment goes then as every other does: when nobody needs it.
"""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from storage.damage import read_part_around
from storage.filesystem import Filesystem
from storage.layout import HEADER_SIZE, segment_path
from storage.machine import Machine
from storage.segment import Segment

LIVING_RATIO_MAX = 1.5
"""The log may take so many times the bytes that are needed ..."""

SEGMENTS_BEYOND = 2
"""... and so many segments more, before anything is copied."""

READ_SIZE = 1 << 20
"""A segment is read in pieces of this size, or of one record that is larger."""

BYTES_PER_S = 32 << 20
"""How fast segments are read, while the log is less than twice as large as it may be; beyond that, in proportion."""

HASTE_RATIO = 2.0

READ_SIZE_IN_HASTE = 8 << 20
"""Then the pieces are of this size: each waits for its turn of the event loop, and the worker for its own."""


class Mover(Protocol):
    """The owner's part of compaction. It is called on the journal's thread only, and never within a unit."""

    def begin(self, segment: Segment) -> None:
        """Begin with a segment: from now on, know where all its messages are."""

    def prepare(self) -> bool:
        """Take one more step of finding out where they are. Returns whether that was the last one."""

    def offer(self, data: bytes, offset: int) -> None:
        """Take a piece of the segment, which begins at ``offset``, where a record should be."""

    def move(self) -> bool:
        """Move a few of the messages in the piece. Returns whether there is nothing more to be moved in it."""

    def next_piece(self) -> tuple[int, int]:
        """Return where the next piece begins and how many bytes it needs at least; (0, 0) when there is none."""

    def clear(self) -> bool:
        """Take one more step of dealing with what could not be moved. Returns whether that was the last one."""

    @property
    def waits(self) -> bool:
        """Whether the next step of that comes when something is written or read, and not at once."""

    def end(self) -> bool:
        """End with the segment. Returns False as long as something is on its way, and is called again then."""

    @property
    def moved_bytes(self) -> int:
        """How many bytes were copied so far."""


REFUSED_MAX = 64
"""When the disk has refused so many places of one piece, the rest is not tried: its records are read one by one."""

PROBE_COUNT = 8
"""So many places of a segment, all over it, tell whether the disk refuses some of it, or everything."""

POSTPONED_MAX = 1024
"""A segment that could not be emptied is tried again when one new one has begun, then two, four and at most so many
later; and with the next one if something in it is needed no more."""


class Attempt(NamedTuple):
    """That a segment was gone through when another one began, and is needed so often still."""

    current_number: int
    live_left: int
    segments_between: int


class Compactor:
    """Moves what is needed out of one segment after the other, as long as the log is larger than it may be.

    ``step`` is called in turns of the event loop while it is ``busy``; ``notify`` has it called again.
    """

    def __init__(
        self, mover: Mover, machine: Machine, filesystem: Filesystem, directory: Path, notify: Callable[[], None]
    ) -> None:
        self.busy = False
        self._mover = mover
        self._machine = machine
        self._filesystem = filesystem
        self._directory = directory
        self._notify = notify
        self._worker = machine.worker("journal-compactor")
        self._segment: Segment | None = None
        self._do: Callable[[], bool] = self._prepare
        # Where the last piece began, and its octets, None if it cannot be read.
        self._piece: tuple[int, bytes | None] | None = None
        self._piece_before = (0, 0)
        self._bytes_per_s = float(BYTES_PER_S)
        self._read_size = READ_SIZE
        # What is left of a segment after a pass is for a later one.
        self._attempts: dict[int, Attempt] = {}

    @property
    def moved_bytes(self) -> int:
        """How many bytes were copied so far."""
        return self._mover.moved_bytes

    def is_due(self, log_bytes: int, living_bytes: int, segment_size: int) -> bool:
        """Say whether to begin with a segment, because the log is larger than it may be."""
        limit = LIVING_RATIO_MAX * living_bytes + SEGMENTS_BEYOND * segment_size
        if self.busy or log_bytes <= limit:
            return False
        excess = log_bytes / limit
        in_haste = excess >= HASTE_RATIO
        self._bytes_per_s = BYTES_PER_S * (excess**2 if in_haste else excess)
        self._read_size = READ_SIZE_IN_HASTE if in_haste else READ_SIZE
        return True

    def begin(self, segment: Segment, current_number: int) -> bool:
        """Begin with a segment, unless that was in vain not long ago. Returns whether it does."""
        before = self._attempts.get(segment.number)
        between = 1
        if before is not None:
            if segment.live == before.live_left:
                between = before.segments_between
            if current_number < before.current_number + between:
                return False
            if segment.live == before.live_left:
                between = min(2 * between, POSTPONED_MAX)
        self._attempts[segment.number] = Attempt(current_number, segment.live, between)
        self._segment = segment
        self._piece_before = (0, 0)
        self._mover.begin(segment)
        self._do = self._prepare
        self.busy = True
        return True

    def forget(self, numbers: Iterable[int]) -> None:
        """Take in that segments have gone."""
        for number in numbers:
            self._attempts.pop(number, None)

    def step(self) -> bool:
        """Go on a little. Returns whether to be called again at once."""
        return self._do()

    def stop(self) -> None:
        """End the worker."""
        self._worker.stop()

    def _prepare(self) -> bool:
        if self._mover.prepare():
            self._read_piece(HEADER_SIZE, 0)
            return False
        return True

    def _read_piece(self, offset: int, size_min: int) -> None:
        assert self._segment is not None  # noqa: S101
        self._piece = None
        self._do = self._wait_for_piece
        size = max(self._read_size, size_min)
        self._worker.put(partial(self._read, self._segment.number, offset, size))

    def _read(self, number: int, offset: int, size: int) -> None:
        data: bytes | None = None
        try:
            # Much of it may be in the page cache still. What is copied is checked in any case.
            path = segment_path(self._directory, number)
            data, refused_count = read_part_around(self._filesystem, path, offset, size, REFUSED_MAX)
            if refused_count and not self._gives_back_some(path):
                # That says more about the disk than about what is in this segment.
                data = None
        except OSError:
            # It is tried again later. Whoever needs it before will tell.
            pass
        self._machine.pause(len(data or b"") / self._bytes_per_s)
        self._piece = (offset, data)
        self._notify()

    def _gives_back_some(self, path: Path) -> bool:
        size = self._filesystem.size(path)
        for probe in range(PROBE_COUNT):
            with contextlib.suppress(OSError):
                self._filesystem.read_from_disk(path, probe * size // PROBE_COUNT, 1)
                return True
        return False

    def _wait_for_piece(self) -> bool:
        if self._piece is None:
            return False
        offset, data = self._piece
        self._piece = None
        if data is None:
            return self._finish()
        if (offset, len(data)) == self._piece_before or not data:
            # The file ends before its records do.
            return self._clear()
        self._piece_before = (offset, len(data))
        self._mover.offer(data, offset)
        self._do = self._move
        return True

    def _move(self) -> bool:
        assert self._segment is not None  # noqa: S101
        if not self._mover.move():
            return True
        offset, size_min = self._mover.next_piece()
        if self._segment.live == 0:
            return self._finish()
        if offset == 0 or offset >= self._segment.size:
            return self._clear()
        self._read_piece(offset, size_min)
        return False

    def _clear(self) -> bool:
        self._do = self._clear
        if self._mover.clear():
            return self._finish()
        return not self._mover.waits

    def _finish(self) -> bool:
        assert self._segment is not None  # noqa: S101
        self._do = self._finish
        if self._mover.end():
            self.busy = False
            attempt = self._attempts.get(self._segment.number)
            if attempt is not None:
                self._attempts[self._segment.number] = attempt._replace(live_left=self._segment.live)
            self._segment = None
        # What is on its way arrives with the end of a commit.
        return False
