"""What a queue asks of the virtual host that has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from broker.queueing.budget import UNLIMITED, MemoryBudget

if TYPE_CHECKING:
    from broker.queueing.contents import QueueContents
    from broker.queueing.message import Message
    from broker.queueing.queue import Queue
    from broker.queueing.ready import PagedMessage


class QueueHost:
    """The surroundings of a queue. This one does nothing: dead letters are dropped, and time stands still.

    ``budget`` counts the messages that the queue has in memory. ``keeps_history`` says that what is in the journal is
    kept for a while after it was consumed, and needs a time by which it can be found.
    """

    budget: MemoryBudget = UNLIMITED
    keeps_history = False

    def dead_letter(self, queue: Queue, message: Message, position: int, reason: str) -> None:  # noqa: ARG002
        """Take over a message that leaves ``queue``; it has to be taken out of the queue's log in the end."""
        if queue.log is not None:
            queue.log.acknowledge(message, position)

    def want_timer(self, queue: Queue, due_ms: int) -> None:
        """Call ``queue.on_due`` at a time, in milliseconds since 1970."""

    def want_pages(self, queue: Queue, positions: Sequence[int] = ()) -> None:
        """Page in the next messages of ``queue``, or those at ``positions``, and then call its ``on_paged_in``."""

    def release_paged(self, message: PagedMessage) -> None:
        """Take in that a message is needed no more that was paged out from a queue that is not durable."""

    def drop(self, queue: QueueContents, parts: list[Any], finished: Callable[[], Any] | None) -> None:
        """Call ``queue.discard_some(parts, ...)`` until no part is left, and then ``finished``."""
        while parts:
            queue.discard_some(parts, 1 << 30)
        if finished is not None:
            finished()

    def expire_queue(self, queue: Queue) -> None:
        """Delete a queue that was not used for as long as ``x-expires`` says."""
