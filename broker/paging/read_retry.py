"""Reading again what could not be read for want of something that comes back: file descriptors, or memory."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from broker.logs import get_logger

if TYPE_CHECKING:
    from broker.queueing.queue import Queue

log = get_logger("paging")

PASSING_ERRORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN))
"""What a read may end with and say nothing about the disk."""

# How long it takes until the next attempt: twice as long after each, from the first to the last of these.
DELAY_MIN_S = 0.05
DELAY_MAX_S = 5.0


class Reading(NamedTuple):
    """What is to be read of a queue: the next messages, or those at ``positions``; see ``Pager.want``."""

    queue: Queue
    positions: Sequence[int]
    finished: Callable[[], Any] | None


class ReadRetry:
    """What waits to be read again in one virtual host.

    All of it is tried again at once, and more and more seldom, for as long as it takes: the messages stay in their
    queues meanwhile. Queues that can be read do not wait for those that cannot.
    """

    def __init__(self, vhost_name: str, again: Callable[[list[Reading]], Any]) -> None:
        self._vhost_name = vhost_name
        self._again = again
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._failing: set[Queue] = set()
        self._waiting: list[Reading] = []
        self._is_due = True
        self._delay_s = DELAY_MIN_S

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to try again."""
        self._loop = loop
        if not self._is_due:
            self._schedule()

    def close(self) -> None:
        """Try nothing any more."""
        self._loop = None
        self._waiting.clear()
        if self._handle is not None:
            self._handle.cancel()

    def holds(self, reading: Reading) -> bool:
        """Keep ``reading`` for the next attempt, if it is of a queue that waits for that. Returns whether it does."""
        if self._is_due or reading.queue not in self._failing:
            return False
        self._waiting.append(reading)
        return True

    def failed(self, queue: Queue, error: int) -> None:
        """Take note that a queue could not be read. What is wanted of it waits from now on."""
        if not self._failing:
            log.warning(
                "messages cannot be read for the time being; it will be tried again",
                vhost=self._vhost_name,
                queue=queue.name,
                errno=errno.errorcode.get(error, error),
            )
        self._failing.add(queue)
        if self._is_due:
            self._is_due = False
            self._schedule()

    def succeeded(self, queue: Queue) -> None:
        """Take note that nothing is in the way of a queue any more."""
        if queue in self._failing:
            self._leave({queue})

    def _schedule(self) -> None:
        if self._loop is not None:
            self._handle = self._loop.call_later(self._delay_s, self._run)
            self._delay_s = min(2 * self._delay_s, DELAY_MAX_S)

    def _run(self) -> None:
        self._handle = None
        self._is_due = True
        waiting, self._waiting = self._waiting, []
        # Of the others nobody wants anything any more.
        self._leave(self._failing - {reading.queue for reading in waiting})
        self._again(waiting)

    def _leave(self, queues: set[Queue]) -> None:
        if self._failing and self._failing <= queues:
            self._delay_s = DELAY_MIN_S
            log.info("no message waits to be read again", vhost=self._vhost_name)
        self._failing -= queues
