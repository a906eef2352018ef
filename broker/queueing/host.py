"""What a queue asks of the virtual host that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.queueing.message import Message
    from broker.queueing.queue import Queue


class QueueHost:
    """The surroundings of a queue. This one does nothing: dead letters are dropped, and time stands still."""

    def dead_letter(self, queue: Queue, message: Message, position: int, reason: str) -> None:  # noqa: ARG002
        """Take over a message that leaves ``queue``; it has to be taken out of the queue's log in the end."""
        if queue.log is not None:
            queue.log.acknowledge(message, position)

    def want_timer(self, queue: Queue, due_ms: int) -> None:
        """Call ``queue.on_due`` at a time, in milliseconds since 1970."""

    def expire_queue(self, queue: Queue) -> None:
        """Delete a queue that was not used for as long as ``x-expires`` says."""
