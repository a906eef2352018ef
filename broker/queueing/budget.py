"""How much memory the messages in queues may take, before what waits furthest from its consumer goes to disk."""

import sys
from collections.abc import Callable
from typing import Any


class MemoryBudget:
    """Counts the memory of all messages that queues hold, for as many queues as share it.

    ``exceeded()`` is called when there is too much, once until ``rearm``.
    """

    def __init__(self, limit_bytes: int, exceeded: Callable[[], Any]) -> None:
        self.used_bytes = 0
        self.limit_bytes = limit_bytes
        self.reported = False
        self._exceeded = exceeded

    def _report(self) -> int:
        self.reported = True
        self._exceeded()
        return 0

    def rearm(self) -> None:
        """Have ``exceeded`` called again the next time that something is added while there is too much."""
        self.reported = False


def _nothing() -> None:
    pass


UNLIMITED = MemoryBudget(sys.maxsize, _nothing)
"""For queues that page nothing out."""
