"""When the messages of all queues take too much memory: which of them are paged out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.queueing.budget import MemoryBudget

if TYPE_CHECKING:
    from broker.paging.pager import Pager
    from broker.queueing.queue import Queue
    from broker.turn import Turn

# How many messages are paged out in one turn of the event loop.
PAGED_OUT_PER_TURN_MAX = 10_000

# How many queues are looked at in one turn, in search of those that have much in memory.
QUEUES_PER_TURN_MAX = 1_000

# What a queue without consumers keeps in memory, as long as that leaves enough to page out.
KEPT_BYTES = 64 * 1024

# How much more than necessary is paged out, so that not every message that comes has to be followed by one that goes.
SLACK_RATIO = 1 / 32


class PageOut:
    """The memory that the messages of all virtual hosts may take, and what happens beyond.

    It is asked for when the budget is exceeded, and works in steps, one in each turn, until there is room again. When
    it finds nothing that it could page out, it waits until ``resume`` is called.
    """

    def __init__(self, turn: Turn, limit_bytes: int) -> None:
        self.budget = MemoryBudget(limit_bytes, self._want_step)
        self.pagers: list[Pager] = []
        self._turn = turn
        # Queues that have more than they may keep, as far as is known.
        self._large: dict[Queue, Pager] = {}
        # What the sweep through all queues has not seen yet.
        self._unseen: list[tuple[Pager, list[Queue]]] | None = None
        self._kept_bytes = KEPT_BYTES
        self._done_in_sweep = 0
        self._slack_bytes = int(limit_bytes * SLACK_RATIO)
        self._is_stuck = False

    def _want_step(self) -> None:
        self._turn.want_step(self.relieve)

    def _is_over(self) -> bool:
        return self.budget.used_bytes > self.budget.limit_bytes

    def resume(self) -> None:
        """Try again: what is in memory may have been written meanwhile."""
        if self._is_stuck:
            self._is_stuck = False
            self._want_step()

    def relieve(self) -> None:
        """Page out as much as one turn allows, and go on in the next one if that is not enough."""
        left = PAGED_OUT_PER_TURN_MAX
        looked_at = 0
        while self._large and self._is_over() and left > 0 and looked_at < QUEUES_PER_TURN_MAX:
            queue, pager = self._large.popitem()
            looked_at += 1
            needed = self.budget.used_bytes - self.budget.limit_bytes + self._slack_bytes
            kept = max(self._kept_for(queue, pager), queue.memory_bytes() - needed)
            left -= pager.page_out(queue, kept, left)
            if left <= 0 and not queue.deleted:
                self._large[queue] = pager
        self._done_in_sweep += PAGED_OUT_PER_TURN_MAX - left
        if not self._is_over():
            self.budget.rearm()
        elif self._large or self._search():
            self._want_step()
        else:
            self._is_stuck = True

    def _kept_for(self, queue: Queue, pager: Pager) -> int:
        return max(self._kept_bytes, pager.window_bytes()) if queue.consumers else self._kept_bytes

    def _search(self) -> bool:
        """Look for queues that have much in memory. Returns whether to go on."""
        if self._unseen is None:
            self._unseen = [(pager, list(pager.queues())) for pager in self.pagers]
            self._done_in_sweep = 0
        left = QUEUES_PER_TURN_MAX
        while self._unseen and left > 0:
            pager, queues = self._unseen[-1]
            some = queues[-left:]
            del queues[-left:]
            left -= len(some)
            for queue in some:
                if not queue.deleted and queue.memory_bytes() > self._kept_for(queue, pager):
                    self._large[queue] = pager
            if not queues:
                self._unseen.pop()
        return self._goes_on()

    def _goes_on(self) -> bool:
        if self._unseen or self._large:
            return True
        self._unseen = None
        if self._done_in_sweep:
            self._kept_bytes = min(2 * self._kept_bytes + 1, KEPT_BYTES)
            return True
        # It is many small queues that take the memory, or it is what cannot be paged out.
        was_all = self._kept_bytes == 0
        self._kept_bytes //= 2
        return not was_all

    def forget(self, pager: Pager) -> None:
        """Leave out a virtual host that is closed."""
        self.pagers.remove(pager)
        self._unseen = None
        self._large = {queue: other for queue, other in self._large.items() if other is not pager}
