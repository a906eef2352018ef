"""What the queues of a virtual host ask of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from broker.durability.queue_log import VirtualHostJournal
from broker.queueing.contents import QueueContents
from broker.queueing.host import QueueHost
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.queueing.ready import PagedMessage


class QueueServices(QueueHost):
    """Hands over what queues ask for to those who do it: see ``QueueHost``. The virtual host is one of these."""

    transfers: Any
    timers: Any
    pager: Any
    journal: VirtualHostJournal
    purges: Any

    def dead_letter(self, queue: Queue, message: Message, position: int, reason: str) -> None:
        """See ``QueueHost``."""
        self.transfers.add(queue, message, position, reason)

    def want_timer(self, queue: Queue, due_ms: int) -> None:
        """See ``QueueHost``."""
        self.timers.want(queue, due_ms)

    def want_pages(self, queue: Queue, positions: Sequence[int] = ()) -> None:
        """See ``QueueHost``."""
        self.pager.want(queue, positions)

    def release_paged(self, message: PagedMessage) -> None:
        """See ``QueueHost``."""
        self.journal.release_paged(message.location, message.share_units)

    def drop(self, queue: QueueContents, parts: list[Any], finished: Callable[[], Any] | None) -> None:
        """See ``QueueHost``."""
        self.purges.add(queue, parts, finished)
