"""Dropping what was in queues that are purged or deleted: so much of it in each turn of the event loop, and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from broker.queueing.contents import QueueContents
from broker.turn import Turn

DROPPED_PER_TURN_MAX = 20_000
"""So many messages are dropped before the event loop has its turn again, of all queues together."""

SHARE_OF_ONE_MAX = 4_000
"""So many of them are of one queue, while others wait: a small one comes through beside large ones."""


class Purges:
    """What is being dropped in a virtual host."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._pending: deque[tuple[QueueContents, list[Any], Callable[[], Any] | None]] = deque()
        self._left = DROPPED_PER_TURN_MAX

    def add(self, queue: QueueContents, parts: list[Any], finished: Callable[[], Any] | None) -> None:
        """Drop what was taken out of a queue, and then call ``finished``; at once as far as this turn goes."""
        if not self._pending:
            dropped = queue.discard_some(parts, self._left)
            if dropped:
                self._left -= dropped
                self._turn.want_step(self._go_on)
            if not parts:
                if finished is not None:
                    finished()
                return
        self._pending.append((queue, parts, finished))
        self._turn.want_step(self._go_on)

    def _go_on(self) -> None:
        self._left = DROPPED_PER_TURN_MAX
        try:
            while self._pending and self._left:
                queue, parts, finished = self._pending.popleft()
                share = SHARE_OF_ONE_MAX if self._pending else self._left
                self._left -= queue.discard_some(parts, min(share, self._left))
                if parts:
                    self._pending.append((queue, parts, finished))
                elif finished is not None:
                    finished()
        finally:
            if self._pending:
                self._turn.want_step(self._go_on)
