"""Copies of what turned out damaged while a journal is open, kept by a worker of their own.

Damage comes in masses: a bad disk loses thousands of records side by side. So what has gathered while the worker was
busy is one batch, in which stretches that touch are one copy; and nobody else waits behind them. A segment is held on
to until its copies are on disk, or cannot be made.
"""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from storage.cases import Case
from storage.damage import Damage, keep_copies
from storage.filesystem import Filesystem
from storage.layout import segment_path
from storage.machine import Machine, Worker
from storage.segment import Segment

COPY_SIZE_MAX = 1 << 20
"""Stretches that touch become one copy up to this size; a single one may be larger."""

STRETCHES_WAITING_MAX = 4096
"""When so many stretches wait, those that come are taken together with the last one of their segment, and with all that
is between: a copy may say more than was asked for, and what waits stays small."""

logger = logging.getLogger(__name__)


class Stretches:
    """What is to be copied of one segment, as pairs of offsets."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.places: list[tuple[int, int]] = []

    def add(self, start: int, end: int, crowded: bool) -> bool:
        """Take in one more; returns whether there are more of them now. ``crowded``: there should not be."""
        if self.places:
            first, last = self.places[-1]
            merged = min(first, start), max(last, end)
            touches = start <= last and end >= first
            if crowded or (touches and merged[1] - merged[0] <= COPY_SIZE_MAX):
                self.places[-1] = merged
                return False
        self.places.append((start, end))
        return True


Batch = dict[int, Stretches]


class Quarantine:
    """Keeps copies of what is damaged in the segments of a journal. All methods are for the journal's thread.

    ``notify`` is called, on the worker's thread, when a batch is done; ``collect`` is to be called then.
    """

    def __init__(self, machine: Machine, filesystem: Filesystem, directory: Path, notify: Callable[[], None]) -> None:
        self._machine = machine
        self._filesystem = filesystem
        self._directory = directory
        self._notify = notify
        # Most journals never need it.
        self._worker: Worker | None = None
        self._waiting: Batch = {}
        self._waiting_count = 0
        self._is_busy = False
        self._done: deque[Batch] = deque()

    def keep(self, segment: Segment, offset: int, size: int) -> None:
        """Have a copy kept of a stretch of a segment, before that may go."""
        stretches = self._waiting.get(segment.number)
        if stretches is None:
            stretches = self._waiting[segment.number] = Stretches(segment)
            segment.retain()
        self._waiting_count += stretches.add(offset, offset + size, self._waiting_count >= STRETCHES_WAITING_MAX)
        if not self._is_busy:
            self._hand_over()

    def collect(self) -> None:
        """Let go of the segments of which there are copies now."""
        while self._done:
            for stretches in self._done.popleft().values():
                stretches.segment.release()
            self._is_busy = False
        if self._waiting and not self._is_busy:
            self._hand_over()

    def stop(self) -> None:
        """Keep what was asked for, and end the worker."""
        if self._waiting:
            self._hand_over()
        if self._worker is not None:
            self._worker.stop()

    def _hand_over(self) -> None:
        if self._worker is None:
            self._worker = self._machine.worker("journal-quarantine")
        batch, self._waiting = self._waiting, {}
        self._waiting_count = 0
        self._is_busy = True
        self._worker.put(partial(self._copy, batch))

    def _copy(self, batch: Batch) -> None:
        for number, stretches in batch.items():
            path = segment_path(self._directory, number)
            damages = [Damage(Case.RECORD_DAMAGED, path, number, start, end - start) for start, end in stretches.places]
            try:
                keep_copies(self._filesystem, self._directory, damages)
            except OSError as error:
                logger.warning("no copy of the damage in %s could be kept: %s", path, error)
        self._done.append(batch)
        self._notify()
