"""File work that failed and will be tried again: what, why, and how."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ERRORS_OF_A_FULL_DISK = frozenset((errno.ENOSPC, errno.EDQUOT))
"""What a write may end with and be tried again: the disk, or the owner's share of it, is full."""

logger = logging.getLogger(__name__)


def is_full_disk(error: OSError) -> bool:
    """Say whether an error will go away when there is room again."""
    return error.errno in ERRORS_OF_A_FULL_DISK


class Obstacle(NamedTuple):
    """What could not be done, and why: ``operation`` is "writing", "preparing", "removing" and the like."""

    file: Path
    operation: str
    errno: int

    @property
    def is_full_disk(self) -> bool:
        """Whether it will go away when there is room again."""
        return self.errno in ERRORS_OF_A_FULL_DISK

    def __str__(self) -> str:
        return f"{self.operation} {self.file} failed: {os.strerror(self.errno)}"


class Outcome(NamedTuple):
    """How a task of the housekeeper ended. ``again`` asks for it once more; without it, the journal has failed.

    ``subject`` says which task it was, so that a success can be told to belong to a failure before.
    """

    subject: object
    obstacle: Obstacle | None
    again: Callable[[], object] | None = None


class Postponed:
    """What failed and waits to be tried again, in the order in which it failed first."""

    def __init__(self) -> None:
        self._obstacles: dict[object, Obstacle] = {}
        self._waiting: dict[object, Callable[[], object]] = {}

    def add(self, subject: object, obstacle: Obstacle, again: Callable[[], object]) -> bool:
        """Put something off. Returns whether it had not been put off before."""
        is_new = subject not in self._obstacles
        if is_new:
            # Of a full disk the owner makes more than a line in the log.
            level = logging.INFO if obstacle.is_full_disk else logging.WARNING
            logger.log(level, "%s; it will be tried again", obstacle)
        self._obstacles[subject] = obstacle
        self._waiting[subject] = again
        return is_new

    def remove(self, subject: object) -> None:
        """Forget what has worked out, or is wanted no more."""
        self._obstacles.pop(subject, None)
        self._waiting.pop(subject, None)

    def retry(self) -> None:
        """Try everything once more, but for what is being tried already."""
        # In the old order: segments are prepared before the batch that needs them is written.
        waiting = [self._waiting.pop(subject) for subject in self._obstacles if subject in self._waiting]
        for again in waiting:
            again()

    def obstacles(self) -> list[Obstacle]:
        """Return what is in the way, the oldest first."""
        return list(self._obstacles.values())

    def out_of_room(self) -> Obstacle | None:
        """Return the first thing for which the disk is too full."""
        for obstacle in self._obstacles.values():
            if obstacle.is_full_disk:
                return obstacle
        return None
