"""basic.get from a queue whose first message is paged out, or behind replies that wait."""

from __future__ import annotations

from typing import Any

from broker.queueing.queue import Queue
from broker.session.replies import PendingReply


def get_later(channel: Any, reply: PendingReply, queue: Queue, *, no_ack: bool) -> None:
    """Get when the first message is in memory, and it is the turn of ``reply``."""

    def get_in_turn() -> bool:
        if _pages_missing(channel, queue):
            # Somebody else was faster.
            get_later(channel, reply, queue, no_ack=no_ack)
            return False
        channel.get_now(queue, no_ack)
        return True

    if _pages_missing(channel, queue):
        channel.vhost.pager.want(queue, (), lambda: get_later(channel, reply, queue, no_ack=no_ack))
    else:
        reply.resolve(get_in_turn)


def _pages_missing(channel: Any, queue: Queue) -> bool:
    return channel.is_open and not queue.deleted and queue.waits_for_pages()
