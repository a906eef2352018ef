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


class PageOut:
    """The memory that the messages of all virtual hosts may take, and what happens beyond.

    It is asked for when the budget is exceeded, and works in steps, one in each turn, until there is room again. When
    it finds nothing that it could page out, it waits until ``resume`` is called.
    """

    def __init__(self, turn: Turn, limit_bytes: int) -> None:
        self.budget = MemoryBudget(limit_bytes, self._want_step)
        self.pagers: list[Pager] = []
        self._turn = turn
        self._large: dict[Queue, Pager] = {}
        self._unseen: list[tuple[Queue, Pager]] | None = None
        self._kept_bytes = KEPT_BYTES
        self._found_in_sweep = False
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
        for queue, pager in list(self._large.items()):
            if not self._is_over() or left <= 0:
                break
            left -= pager.page_out(queue, self._kept_for(queue, pager), left)
            if queue.deleted or queue.memory_bytes() <= self._kept_for(queue, pager):
                del self._large[queue]
        if not self._is_over():
            self.budget.rearm()
        elif left < PAGED_OUT_PER_TURN_MAX or self._search():
            self._want_step()
        else:
            self._is_stuck = True

    def _kept_for(self, queue: Queue, pager: Pager) -> int:
        return max(self._kept_bytes, pager.window_bytes()) if queue.consumers else self._kept_bytes

    def _search(self) -> bool:
        """Look for queues that have much in memory. Returns whether to go on."""
        if self._unseen is None:
            self._unseen = [(queue, pager) for pager in self.pagers for queue in pager.queues()]
            self._found_in_sweep = False
        some, self._unseen = self._unseen[-QUEUES_PER_TURN_MAX:], self._unseen[:-QUEUES_PER_TURN_MAX]
        for queue, pager in some:
            if not queue.deleted and queue.memory_bytes() > self._kept_for(queue, pager):
                self._large[queue] = pager
                self._found_in_sweep = True
        if self._unseen:
            return True
        self._unseen = None
        if self._found_in_sweep:
            self._kept_bytes = KEPT_BYTES
            return bool(some)
        # It is many small queues that take the memory.
        self._kept_bytes //= 2
        return self._kept_bytes > 0

    def forget(self, pager: Pager) -> None:
        """Leave out a virtual host that is closed."""
        self.pagers.remove(pager)
        self._unseen = None
        self._large = {queue: other for queue, other in self._large.items() if other is not pager}
