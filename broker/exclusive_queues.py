"""The queues that connections have exclusively, and how they go: some in each turn of the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker.queueing.queue import Queue

QUEUES_PER_TURN_MAX = 250
"""So many queues of connections that have ended are deleted before the event loop has its turn again."""


class ExclusiveQueues:
    """The exclusive queues of a virtual host, by the connections that own them.

    Those of a connection that has ended are still there for a few turns, if they are many. Nobody is refused anything
    because of that: whoever names one meanwhile finds that it is gone (``VirtualHost.look_up_queue``).
    """

    def __init__(self, vhost: Any) -> None:
        self._vhost = vhost
        self._owned: dict[Any, dict[Queue, None]] = {}
        self._ended: dict[Any, list[Callable[[], Any]]] = {}

    def add(self, queue: Queue) -> None:
        """Take notice of a new exclusive queue."""
        self._owned.setdefault(queue.exclusive_owner, {})[queue] = None

    def remove(self, queue: Queue) -> None:
        """Take notice that an exclusive queue has been deleted."""
        self._owned.get(queue.exclusive_owner, {}).pop(queue, None)

    def is_doomed(self, queue: Queue) -> bool:
        """Return whether the connection has ended that owns a queue."""
        return queue.exclusive_owner is not None and queue.exclusive_owner in self._ended

    def delete_all(self, owner: Any, finished: Callable[[], Any] | None = None) -> None:
        """Delete the queues of a connection that has ended, and then call ``finished``: at once if it has none."""
        if owner not in self._ended:
            if not self._owned.get(owner):
                self._owned.pop(owner, None)
                if finished is not None:
                    finished()
                return
            self._ended[owner] = []
        if finished is not None:
            self._ended[owner].append(finished)
        self._vhost.turn.want_step(self._go_on)

    def finish(self) -> None:
        """Delete now what is left of those that have ended."""
        while self._ended:
            self._delete_some(QUEUES_PER_TURN_MAX)

    def _go_on(self) -> None:
        try:
            self._delete_some(QUEUES_PER_TURN_MAX)
        finally:
            # Should one fail, the others go all the same.
            if self._ended:
                self._vhost.turn.want_step(self._go_on)

    def _delete_some(self, count_max: int) -> None:
        while self._ended:
            owner = next(iter(self._ended))
            queues = self._owned.get(owner)
            while queues:
                if count_max == 0:
                    return
                count_max -= 1
                queue, _ = queues.popitem()
                if not queue.deleted:
                    self._vhost.delete_queue(queue)
            self._owned.pop(owner, None)
            for finished in self._ended.pop(owner):
                finished()
