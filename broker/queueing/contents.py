"""What a queue holds, as far as nobody consumes it: counting, paging, looking at it, taking out and putting back."""

from collections.abc import Callable
from typing import Any

import cython

from broker.durability.queue_log import QueueLog
from broker.queueing.backlog import Backlog
from broker.queueing.groups import MessageGroups
from broker.queueing.host import QueueHost
from broker.queueing.message import Message
from broker.queueing.ready import PagedMessage, ReadyMessages
from broker.queueing.returns import Returns
from storage.fetcher import Fetch

if not cython.compiled:
    from broker.queueing.ready import NOT_HERE, body_size


class QueueContents:
    """The messages of a queue that are with no consumer.

    They are in blocks, or in a ``Backlog`` if the queue is managed. ``log`` is the queue's side of the journal, None
    for a queue that does not survive its broker. ``host`` has the budget that counts what is in memory.

    Messages are handed around as ``Message``, or as ``PagedMessage`` when they are paged out.
    """

    def __init__(self, log: QueueLog | None, host: QueueHost) -> None:
        self.log = log
        self.host = host
        self.budget = host.budget
        self._ready = ReadyMessages(self.budget)
        self._backlog: Backlog | None = None
        self._ready_bytes = 0
        # Of the messages that have come back, where the queue counts that.
        self.returns = Returns()
        self.page_number = 0
        if log is not None:
            log.owner.holders[log.number] = self

    def ready_count(self) -> int:
        """Return how many messages wait for a consumer."""
        return self._ready.length() if self._backlog is None else self._backlog.count

    def ready_bytes(self) -> int:
        """Return the size of the bodies of the messages that wait for a consumer."""
        return self._ready_bytes if self._backlog is None else self._backlog.size_bytes

    # Paging

    def _parts(self) -> list[ReadyMessages]:
        return [self._ready] if self._backlog is None else self._backlog.parts()

    def paged_count(self) -> int:
        """Return how many messages are paged out."""
        if self._backlog is None:
            return self._ready.paged_count
        return sum([part.paged_count for part in self._backlog.parts()])

    def memory_bytes(self) -> int:
        """Return about how much memory the messages take that could be paged out."""
        if self._backlog is None:
            return self._ready.memory_bytes
        return sum([part.memory_bytes for part in self._backlog.parts()])

    def page_out(self, keep_bytes: cython.longlong, count_max: cython.Py_ssize_t, unwritten: list[Any]) -> int:
        """Page out what is furthest from being delivered, until ``keep_bytes`` are left in memory.

        Messages that are nowhere in the journal are added to ``unwritten`` instead, as (position, message), and stay.
        Returns how many messages were one or the other.
        """
        done: cython.Py_ssize_t = 0
        part: ReadyMessages
        if self._backlog is not None and self._backlog.groups is not None:
            # Which key a message has must be known before its turn comes.
            return 0
        parts = self._parts()
        for part in parts:
            # What goes first has the first claim to what is kept.
            done += part.page_out(keep_bytes, count_max - done, unwritten, self.log is not None)
            keep_bytes = max(0, keep_bytes - part.memory_bytes)
        return done

    def page_out_one(
        self, position: cython.ulonglong, message: Message, location: cython.ulonglong, share_units: cython.uint
    ) -> bool:
        """Page out one message, if it is still here: the journal keeps it at ``location`` for this queue."""
        part: ReadyMessages
        for part in self._parts():  # noqa: SIM110 (the loop's variable has a type)
            if part.page_out_one(position, message, location, share_units):
                return True
        return False

    def page_in(self, position: cython.ulonglong, location: cython.ulonglong, message: Message) -> bool:
        """Take a message back into memory, if it is still here, and paged out to ``location``."""
        part: ReadyMessages
        if self._backlog is None:
            return self._ready.page_in(position, location, message)
        for part in self._parts():
            if part.page_in(position, location, message):
                self._backlog.paged_in(part, message, position)
                return True
        return False

    def collect_paged(self, fetch: Fetch, count_max: cython.Py_ssize_t, size_max_bytes: cython.longlong) -> int:
        """Have ``fetch`` bring those of the next messages that are paged out, and return how many those are."""
        if self._backlog is None:
            return self._ready.collect_paged(fetch, count_max, size_max_bytes)
        return self._backlog.collect_paged(fetch, count_max, size_max_bytes)

    def collect_one(self, fetch: Fetch, position: cython.ulonglong) -> bool:
        """Have ``fetch`` bring the message at a position, if it is here and paged out."""
        part: ReadyMessages
        for part in self._parts():  # noqa: SIM110 (the loop's variable has a type)
            if part.collect_one(fetch, position):
                return True
        return False

    # Recovery

    def adopt(self, messages: ReadyMessages, return_counts: dict[int, int]) -> None:
        """Take over all the messages that recovery found, which are paged out."""
        size_bytes: cython.ulonglong = messages.adopted_by(self.budget)
        self.returns.adopt(return_counts)
        if self._backlog is None:
            self._ready = messages
            self._ready_bytes = size_bytes
        else:
            self._backlog.adopt(messages, size_bytes)

    # Moving in the journal

    def part_of(self, position: cython.ulonglong) -> ReadyMessages | None:
        """Return where the ready or waiting message at a position is, None if it is not here."""
        if self._backlog is not None:
            return self._backlog.part_of(position)
        return self._ready if self._ready.whereabouts(position) != NOT_HERE else None

    def everywhere(self) -> list[ReadyMessages]:
        """Return everything in which there may be ready or waiting messages."""
        parts = self._parts()
        if self._backlog is not None and self._backlog.groups is not None:
            parts = [*parts, *self._backlog.groups.parts()]
        return parts

    def is_paged_at(self, position: int, location: int) -> bool:
        """Return whether the message at a position is here, and nobody but the journal keeps it, at ``location``."""
        part = self.part_of(position)
        if part is None:
            return False
        [(_, held, _)] = part.entries(position, 1)
        return isinstance(held, PagedMessage) and held.location == location

    # Dropping everything

    def purge(self, finished: Callable[[], Any] | None = None) -> int:
        """Drop all messages that are with no consumer, and return how many were ready.

        They are out of the queue at once; of many, most are let go in later turns. ``finished`` is called then.
        """
        count: cython.Py_ssize_t = self.ready_count()
        self.host.drop(self, self._detach(), finished)
        return count

    def _detach(self) -> list[Any]:
        """Take everything out, as whole parts."""
        parts: list[Any] = []
        backlog: Any = self._backlog
        if backlog is None:
            parts.append(self._ready)
            self._ready = ReadyMessages(self.budget)
            self._ready_bytes = 0
            return parts
        if backlog.groups is not None:
            groups: MessageGroups = backlog.groups
            parts.append(groups.leave())
        parts += backlog.parts()
        backlog.forget_everything()
        return parts

    def discard_some(self, parts: list[Any], count_max: cython.Py_ssize_t) -> int:
        """Drop up to ``count_max`` messages of what was taken out. Returns how many; at the end no part is left."""
        part: Any
        count: cython.Py_ssize_t = 0
        while parts and count < count_max:
            part = parts.pop()
            if isinstance(part, ReadyMessages):
                while count < count_max:
                    message = cython.cast(ReadyMessages, part).take_any()
                    if message is None:
                        break
                    self.forget(message, cython.cast(ReadyMessages, part).taken_position)
                    count += 1
                if not cython.cast(ReadyMessages, part).is_empty():
                    parts.append(part)
            else:
                groups: MessageGroups = part
                while groups.drop_next():
                    count += 1
                    if groups.dropped is not None:
                        self.forget(groups.dropped, groups.position)
                    if count >= count_max:
                        parts.append(groups)
                        break
        return count

    # Looking and changing

    def entries(self, from_position: int, count_max: int) -> list[Any]:
        """Return up to ``count_max`` ready messages by position, as (position, message, redelivered)."""
        if self._backlog is None:
            return self._ready.entries(from_position, count_max)
        return self._backlog.entries(from_position, count_max)

    def waiting_entries(self, from_position: int, count_max: int) -> list[Any]:
        """Return up to ``count_max`` messages that wait, as (position, message, redelivered, not before in ms)."""
        return [] if self._backlog is None else self._backlog.waiting.entries(from_position, count_max)

    def take_out(self, position: int) -> tuple[int, Message | PagedMessage, bool, int] | None:
        """Take out a ready or waiting message, as (position, message, redelivered, not before in ms).

        ``forget`` or ``put_in`` comes next. None if it is not here.
        """
        for entry in (*self.waiting_entries(position, 1), *[(*one, 0) for one in self.entries(position, 1)]):
            if entry[0] == position:
                self.remove(position)
                found: tuple[int, Message | PagedMessage, bool, int] = entry
                return found
        return None

    def put_in(self, position: int, message: Message | PagedMessage, redelivered: bool, not_before_ms: int) -> None:
        """Put a message that was taken out back to its place."""
        backlog: Backlog
        if self._backlog is None:
            self._ready.insert(message, position, redelivered)
            self._ready_bytes += body_size(message)
            return
        backlog = self._backlog
        if not_before_ms:
            backlog.delay(message, position, redelivered, not_before_ms)
        else:
            backlog.offer(message, position, redelivered)

    def remove(self, position: int) -> Message | PagedMessage | None:
        """Take a ready or waiting message out; it stays in the journal until ``forget``. None if it is not here."""
        if self._backlog is None:
            message: Message | PagedMessage | None = self._ready.remove(position)
            if message is not None:
                self._ready_bytes -= body_size(message)
            return message
        return self._backlog.remove(position)

    def forget(self, message: Message | PagedMessage, position: int) -> None:
        """Finish the removal of a message."""
        self.returns.forget(position)
        if isinstance(message, PagedMessage):
            self.forget_unread(message, position)
        elif self.log is not None:
            self.log.acknowledge(message, position)

    def forget_unread(self, message: PagedMessage, position: cython.ulonglong) -> int:
        """Finish the removal of a message that is paged out."""
        if self.log is not None:
            self.log.acknowledge_paged(message.location, message.share_units, position)
        else:
            self.host.release_paged(message)
        return 0
