"""The disk alarm: when the file system of the data directory is nearly full, publishers wait."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from broker.logs import get_logger

log = get_logger("disk")

CLEAR_RATIO = 1.25
"""The alarm is cleared only when there is so much more than the limit: a segment more, with what is the default."""

FILL_RATE_MAX_BYTES = 256 << 20
"""What others write does not fill a disk faster than that from one check to the next."""

CHECKS_SKIPPED_MAX = 3


class DiskAlarm:
    """Set while ``directory`` has less than ``limit_bytes`` of free space, or a journal finds no room in it.

    A limit of 0 leaves only the latter. The file system is asked in a thread, by ``run_in_thread``, because one that
    has trouble may take its time; meanwhile the last answer counts, less what the journals have taken since:
    ``taken_bytes`` says how much they have taken in all, on any thread.
    """

    source = "disk"

    def __init__(
        self,
        directory: str,
        limit_bytes: int,
        run_in_thread: Callable[[Callable[[], None]], object],
        taken_bytes: Callable[[], int] = int,
    ) -> None:
        self.directory = directory
        self.limit_bytes = limit_bytes
        self.is_set = False
        self.out_of_room = False
        self._run_in_thread = run_in_thread
        self._taken_bytes = taken_bytes
        # What was free, and how much the journals had taken by then.
        self._measured: tuple[int, int] | None = None
        self._failed = False
        self._measuring = False
        self._checks_to_skip = 0

    def measure(self) -> None:
        """Ask the file system. For any thread but the event loop's."""
        try:
            # In this order: what is taken in between counts twice until the next time, rather than never.
            taken_bytes = self._taken_bytes()
            answer = os.statvfs(self.directory)
        except OSError as error:
            if not self._failed:
                log.error("cannot see how full the disk is", directory=self.directory, reason=str(error))
            self._failed = True
        else:
            self._failed = False
            self._measured = (answer.f_bavail * answer.f_frsize, taken_bytes)
        finally:
            self._measuring = False

    def check(self) -> bool:
        """Look at the last measurement, ask for the next one, and return whether the alarm has changed."""
        before = self.is_set
        self.is_set = self._should_be_set()
        if self._checks_to_skip > 0:
            self._checks_to_skip -= 1
        elif not self._measuring:
            self._measuring = True
            self._checks_to_skip = self._skip()
            self._run_in_thread(self.measure)
        return before != self.is_set

    def hurry(self) -> None:
        """Ask the file system at the next check: much has been written."""
        self._checks_to_skip = 0

    @property
    def wants_check(self) -> bool:
        """Whether the alarm would change at the next check."""
        return self.is_set != self._should_be_set()

    @property
    def free_bytes(self) -> int | None:
        """How much is free as far as anybody knows, None if nobody does."""
        if self._measured is None:
            return None
        free_bytes, taken_bytes = self._measured
        return max(0, free_bytes - (self._taken_bytes() - taken_bytes))

    def _should_be_set(self) -> bool:
        return self.out_of_room or self._is_low()

    def _is_low(self) -> bool:
        free_bytes = self.free_bytes
        if free_bytes is None or self.limit_bytes == 0:
            return False
        return free_bytes < self.limit_bytes * (CLEAR_RATIO if self.is_set else 1)

    def _skip(self) -> int:
        """Return how many checks may go by before the file system is asked again."""
        free_bytes = self.free_bytes
        if free_bytes is None or self.is_set:
            return 0
        return max(0, min((free_bytes - self.limit_bytes) // FILL_RATE_MAX_BYTES, CHECKS_SKIPPED_MAX))

    def describe(self) -> dict[str, Any]:
        """Return the figures for the log."""
        return {"free_bytes": self.free_bytes, "limit_bytes": self.limit_bytes, "out_of_room": self.out_of_room}
