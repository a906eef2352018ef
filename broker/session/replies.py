"""The replies of a channel: they go out in the order in which they were asked for, whatever each has to wait for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import cython


class PendingReply:
    """A reply that is due when ``resolve`` has been called and the journal is on disk up to a batch."""

    def __init__(self, owner: OrderedReplies) -> None:
        self._owner = owner
        self.send: Callable[[], bool] | None = None
        self.batch = 0

    def resolve(self, send: Callable[[], bool], batch: int = 0) -> None:
        """Have ``send`` called when it is this reply's turn, and the journal is on disk up to ``batch``.

        ``send`` returns False if it cannot be given yet after all; it has to be resolved again then.
        """
        if self._owner.changed is _nothing:
            # Nobody would send it, and what is to send it may refer to it.
            return
        self.send = send
        self.batch = batch
        self._owner.changed()


class OrderedReplies:
    """Replies that wait: for the journal, for messages that have to be read, or for others before them.

    ``changed`` is called when a reply is resolved, and has to call ``send_due`` sooner or later. ``count`` is told how
    many wait more, or less.
    """

    def __init__(self, changed: Callable[[], Any], count: Callable[[int], Any]) -> None:
        self._waiting: deque[PendingReply] = deque()
        self._count = count
        self.changed = changed

    def __len__(self) -> int:
        return len(self._waiting)

    def pending(self) -> PendingReply:
        """Return the place of a reply among the others, which is resolved later."""
        reply = PendingReply(self)
        self._waiting.append(reply)
        self._count(1)
        return reply

    def send_due(self, durable_batch: cython.ulonglong) -> int:
        """Send what is due when the journal is on disk up to ``durable_batch``."""
        while self._waiting:
            reply: PendingReply = self._waiting[0]
            if reply.send is None or reply.batch > durable_batch:
                return 0
            send, reply.send = reply.send, None
            if not send():
                return 0
            if self._waiting:
                # Sending may have been what closes the channel.
                self._waiting.popleft()
                self._count(-1)
        return 0

    def waits_for_journal(self) -> bool:
        """Return whether the next reply waits for nothing but the journal."""
        return bool(self._waiting) and cython.cast(PendingReply, self._waiting[0]).send is not None

    def close(self) -> None:
        """Send none of them any more."""
        self._count(-len(self._waiting))
        for reply in self._waiting:
            reply.send = None
        self._waiting.clear()
        # It is a method of whoever has this.
        self.changed = _nothing


def _nothing() -> None:
    pass
