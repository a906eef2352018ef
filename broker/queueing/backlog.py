"""What waits in a queue that does more than first in, first out: by priority, by time, and in groups."""

from operator import itemgetter
from typing import Any

import cython

from broker.queueing.budget import UNLIMITED, MemoryBudget
from broker.queueing.due_heap import DueHeap
from broker.queueing.groups import MessageGroups
from broker.queueing.message import Message
from broker.queueing.ready import PagedMessage, ReadyMessages
from broker.queueing.schedule import requested_delivery_ms
from broker.queueing.settings import QueueSettings
from broker.queueing.waiting import TIMES_GONE_MAX, WaitingMessages
from protocol.amqp.header_fields import TRAIT_EXPIRES
from storage.fetcher import Fetch

if not cython.compiled:
    from broker.clock import now_ms
    from broker.queueing.ready import NOT_HERE, PAGED_OUT, body_size
    from protocol.amqp.header_fields import expiration_of, priority_of

NEVER = 1 << 62

# How many messages are put at their places before one of them is taken that somebody cannot wait for.
SORTED_BEFORE_TAKEN = 64


class Backlog:
    """The messages of a queue that are not with a consumer.

    They are *ready*, in levels by priority and in each by position, or they are *waiting* for the time before which
    they must not be delivered. Of a group only one is offered at a time; the others count as ready all the same.

    When a message expires follows from when it was published and from what the queue and the message say, so a
    change of the queue's settings holds for what is there already; for what is paged out, when it comes back.
    """

    def __init__(
        self,
        *,
        max_priority: int,
        message_ttl_ms: int,
        delayed: bool,
        group_header: str | None,
        budget: MemoryBudget = UNLIMITED,
    ) -> None:
        """Take settings; ``message_ttl_ms`` is -1 for none."""
        self.budget = budget
        self.count = 0
        self.size_bytes = 0
        self.waiting = WaitingMessages(budget)
        self.expiries = DueHeap()
        self.groups = MessageGroups(group_header) if group_header is not None else None
        self.max_priority = max_priority
        self.message_ttl_ms = message_ttl_ms
        self.delayed = delayed
        self._levels: list[ReadyMessages | None] = [None] * (max_priority + 1)
        self._top = 0
        # Whether messages are paged out of which nobody has noted when they expire.
        self._expiries_missing = False
        # Parts of whose messages it is still to be noted when they expire, the last from a position on.
        self._unnoted: list[ReadyMessages] = []
        self._unnoted_from = 0
        # What was in the queue before it got these settings, and whether it is noted of it when it expires.
        self._unsorted: list[ReadyMessages] = []
        self._notes_sorted = False
        self.taken_position = 0
        self.taken_redelivered = False

    @classmethod
    def for_settings(cls, settings: QueueSettings, budget: MemoryBudget) -> "Backlog":
        """Return an empty one as it has to be for ``settings``."""
        return cls(
            max_priority=settings.max_priority,
            message_ttl_ms=-1 if settings.message_ttl_ms is None else settings.message_ttl_ms,
            delayed=settings.delayed,
            group_header=settings.group_header,
            budget=budget,
        )

    def follow(self, settings: QueueSettings) -> bool:
        """Become as it has to be for ``settings``; return False if that takes another one, as ``take_over`` makes."""
        group_header = None if self.groups is None else self.groups.header_name.decode("utf-8", "surrogateescape")
        if self.max_priority != settings.max_priority or group_header != settings.group_header:
            return False
        message_ttl_ms = -1 if settings.message_ttl_ms is None else settings.message_ttl_ms
        if self.message_ttl_ms != message_ttl_ms or self.delayed != settings.delayed:
            self.message_ttl_ms = message_ttl_ms
            self.delayed = settings.delayed
            self.expiries.clear()
            if self.groups is not None:
                for position, message, _ in self.groups.everything():
                    self._note_expiry(message, position)
            self._unnoted = self.parts()
            self._unnoted_from = 0
            self._notes_sorted = True
            self._expiries_missing = True
        return True

    def take_over_ready(self, messages: ReadyMessages, size_bytes: cython.ulonglong) -> None:
        """Take over what was ready in a queue that had none; if it cannot stay in the same order, it is unsorted."""
        if self.max_priority == 0 and self.groups is None:
            self.adopt(messages, size_bytes)
            if self.message_ttl_ms >= 0:
                self._unnoted = [messages]
            return
        if messages.length():
            self._unsorted = [messages]
            self._notes_sorted = True
        self.count = messages.length()
        self.size_bytes = size_bytes

    def take_over(self, before: "Backlog") -> None:
        """Take over everything that was in another one."""
        if before.groups is None:
            self._unsorted = [part for part in before.parts()[:-1] if len(part)]
            self.count = before.count
            self.size_bytes = before.size_bytes
            self.waiting = before.waiting
            if self.message_ttl_ms == before.message_ttl_ms and self.delayed == before.delayed:
                self.expiries = before.expiries
                self._expiries_missing = before._expiries_missing
                self._unnoted = before._unnoted
                self._unnoted_from = before._unnoted_from
                self._notes_sorted = before._notes_sorted or len(before._unnoted) > 0
            else:
                self._unnoted = [self.waiting.messages]
                self._notes_sorted = True
                self._expiries_missing = True
            return
        if self.groups is not None and before.groups is not None:
            self.groups.inherit(before.groups)
        for position, message, redelivered in sorted(before.ready(), key=itemgetter(0)):
            self.offer(message, position, redelivered)
        for position, message, redelivered, not_before_ms in before.waiting.everything():
            self.delay(message, position, redelivered, not_before_ms)
        self._inherit_expiries(before)

    def is_sorted(self) -> bool:
        """Return whether everything is at its place."""
        return not self._unsorted

    def sort_some(self, count_max: cython.Py_ssize_t) -> int:
        """Put up to so many messages to their places that were here before the settings; return how many it were."""
        part: ReadyMessages
        first: ReadyMessages | None
        count: cython.Py_ssize_t = 0
        while self._unsorted:
            first = None
            for part in self._unsorted:
                if part.is_empty():
                    continue
                if first is None or part.first_position() < cython.cast(ReadyMessages, first).first_position():
                    first = part
            if first is None:
                self._unsorted = []
                self._notes_sorted = False
                break
            if count == count_max:
                break
            part = first
            message: Any = part.take_any()
            if self._notes_sorted:
                self._note_expiry(message, part.taken_position)
            self._insert(message, part.taken_position, part.taken_redelivered)
            count += 1
        return count

    # Coming and going

    def _level_of(self, message: Message) -> ReadyMessages:
        priority: cython.int = 0
        if self.max_priority:
            priority = max(0, min(priority_of(message.header), self.max_priority))
        level = self._levels[priority]
        if level is None:
            level = ReadyMessages(self.budget)
            self._levels[priority] = level
        if priority > self._top:
            self._top = priority
        return level

    def offer(self, message: Message | PagedMessage, position: cython.ulonglong, redelivered: cython.bint) -> int:
        """Take in a message that may be delivered now.

        One that is paged out gets the lowest priority, and belongs to no group, until it is in memory.
        """
        self.count += 1
        self.size_bytes += body_size(message)
        self._note_expiry(message, position)
        return self._insert(message, position, redelivered)

    def _insert(self, message: Message | PagedMessage, position: cython.ulonglong, redelivered: cython.bint) -> int:
        level: ReadyMessages
        if isinstance(message, PagedMessage):
            if self._levels[0] is None:
                self._levels[0] = ReadyMessages(self.budget)
            level = cython.cast(ReadyMessages, self._levels[0])
            return level.insert(message, position, redelivered)
        if self.groups is None or self.groups.admit(message, position, redelivered):
            self._level_of(message).insert(message, position, redelivered)
        return 0

    def delay(
        self,
        message: Message | PagedMessage,
        position: cython.ulonglong,
        redelivered: cython.bint,
        not_before_ms: cython.ulonglong,
    ) -> int:
        """Take in a message that has to wait."""
        self.waiting.put(message, position, redelivered, not_before_ms)
        return self._note_expiry(message, position)

    def take_first(self, no_ack: cython.bint) -> Message | None:
        """Take the message that goes first; ``taken_position`` and ``taken_redelivered`` say the rest."""
        level: Any
        message: Message | None = None
        if self._unsorted:
            self.sort_some(SORTED_BEFORE_TAKEN)
        while True:
            level = self._levels[self._top]
            if level is not None:
                message = cython.cast(ReadyMessages, level).take_first()
                if message is not None:
                    break
                if not cython.cast(ReadyMessages, level).is_empty():
                    # It has to be paged in first.
                    return None
            if self._top == 0:
                return None
            self._top -= 1
        self.taken_position = cython.cast(ReadyMessages, level).taken_position
        self.taken_redelivered = cython.cast(ReadyMessages, level).taken_redelivered
        self.count -= 1
        self.size_bytes -= len(message.body)
        if self.groups is not None:
            self.groups.taken(message, self.taken_position)
            if no_ack:
                self.settled(message, self.taken_position)
        return message

    def settled(self, message: Message, position: cython.ulonglong) -> int:
        """Take in that a message which was taken is no longer out with a consumer."""
        if self.groups is not None:
            following = self.groups.next_after(message, position)
            if following is not None:
                self._level_of(following).insert(following, self.groups.position, self.groups.redelivered)
        return 0

    def first_is_paged(self) -> bool:
        """Return whether what would be delivered next has to be paged in before."""
        level: Any
        while True:
            level = self._levels[self._top]
            if level is not None and not cython.cast(ReadyMessages, level).is_empty():
                return cython.cast(ReadyMessages, level).first_is_paged()
            if self._top == 0:
                return False
            self._top -= 1

    def take_head(self, unread: cython.bint) -> Message | PagedMessage | None:
        """Take what would be delivered next, or else what has waited longest for its group, for good.

        Only if ``unread`` it may be one that is paged out.
        """
        message: Message | PagedMessage | None = self.take_first(True)
        if message is not None:
            return message
        if self.first_is_paged():
            if not unread:
                return None
            level: ReadyMessages = cython.cast(ReadyMessages, self._levels[self._top])
            message = level.take_any()
            if message is None:
                return None
            self.taken_position = level.taken_position
            self.taken_redelivered = level.taken_redelivered
            self.count -= 1
            self.size_bytes -= body_size(message)
        elif self.groups is not None:
            position: cython.ulonglong = self.groups.oldest_waiting()
            if position:
                message = self.remove(position)
        return message

    def remove(self, position: cython.ulonglong) -> Message | PagedMessage | None:
        """Take out the message at a position, ready or waiting; None if it is not here."""
        message: Message | PagedMessage | None = None
        if self.waiting.length():
            message = self.waiting.remove(position)
            if message is not None:
                self.taken_position = position
                self.taken_redelivered = self.waiting.taken_redelivered
                return message
        for level in self._levels:
            if level is not None:
                message = cython.cast(ReadyMessages, level).remove(position)
                if message is not None:
                    self.taken_redelivered = cython.cast(ReadyMessages, level).taken_redelivered
                    if self.groups is not None and isinstance(message, Message):
                        self.groups.taken(message, position)
                        self.settled(message, position)
                    break
        if message is None and self.groups is not None:
            message = self.groups.remove(position)
            if message is not None:
                self.taken_redelivered = self.groups.redelivered
        if message is None:
            for part in self._unsorted:
                message = cython.cast(ReadyMessages, part).remove(position)
                if message is not None:
                    self.taken_redelivered = cython.cast(ReadyMessages, part).taken_redelivered
                    break
        if message is None:
            return None
        self.taken_position = position
        self.count -= 1
        self.size_bytes -= body_size(message)
        return message

    # Paging

    def parts(self) -> list[ReadyMessages]:
        """Return everything in which messages may be paged out, what goes first before what comes later."""
        found = [level for level in reversed(self._levels) if level is not None]
        return [*found, *self._unsorted, self.waiting.messages]

    def part_of(self, position: cython.ulonglong) -> ReadyMessages | None:
        """Return where the message at a position is, ready, waiting or in its group; None if it is not here."""
        part: ReadyMessages
        for part in self.parts():
            if part.whereabouts(position) != NOT_HERE:
                return part
        return None if self.groups is None else self.groups.part_of(position)

    def collect_paged(self, fetch: Fetch, count_max: int, size_max_bytes: int) -> int:
        """Have ``fetch`` bring those of the next messages that are paged out, and return how many those are."""
        collected: cython.Py_ssize_t = 0
        level: ReadyMessages
        for level in self.parts()[:-1]:
            collected += level.collect_paged(fetch, count_max, size_max_bytes)
            count_max -= level.length()
            size_max_bytes -= level.memory_bytes
            if count_max <= 0 or size_max_bytes <= 0:
                break
        return collected

    def paged_in(self, part: ReadyMessages, message: Message, position: cython.ulonglong) -> None:
        """Take in what could not be known about a message while it was paged out."""
        if self._expiries_missing:
            self._note_expiry(message, position)
        if part in self._unsorted:
            # It comes to its place in its turn.
            return
        if part is not self.waiting.messages and (self.groups is not None or self._level_of(message) is not part):
            part.remove(position)
            self._insert(message, position, part.taken_redelivered)

    def adopt(self, messages: ReadyMessages, size_bytes: cython.ulonglong) -> int:
        """Take over messages that are ready, of which those paged out may expire, as long as there are no others."""
        self._levels[0] = messages
        self.count = messages.length()
        self.size_bytes = size_bytes
        self._expiries_missing = True
        return 0

    def forget_everything(self) -> None:
        """Begin anew; somebody else has the parts."""
        self.count = 0
        self.size_bytes = 0
        self.waiting = WaitingMessages(self.budget)
        self.expiries.clear()
        self._levels = [None] * (self.max_priority + 1)
        self._top = 0
        self._expiries_missing = False
        self._unnoted = []
        self._unnoted_from = 0
        self._unsorted = []
        self._notes_sorted = False

    def _is_paged(self, position: cython.ulonglong) -> bool:
        part: ReadyMessages
        for part in self.parts():  # noqa: SIM110 (the loop's variable has a type)
            if part.whereabouts(position) == PAGED_OUT:
                return True
        return False

    # Time

    def delay_of(self, message: Message) -> int:
        """Return the time before which a message must not be delivered because it says so, 0 for none."""
        if not self.delayed:
            return 0
        if message.published_at_ms == 0:
            message.published_at_ms = now_ms()
        return requested_delivery_ms(message)

    def expiry_of(self, message: Message) -> int:
        """Return when a message expires."""
        lifetime: cython.longlong = self.message_ttl_ms
        own: cython.longlong = -1
        if message.traits & TRAIT_EXPIRES:
            own = expiration_of(message.header)
        if own >= 0 and (lifetime < 0 or own < lifetime):
            lifetime = own
        if lifetime < 0:
            return NEVER
        if message.published_at_ms == 0:
            # Nobody has needed to know so far: the queue has got its time to live since then.
            message.published_at_ms = now_ms()
        born: cython.ulonglong = message.published_at_ms
        if self.delayed:
            # Its life begins when it may be delivered.
            born = max(born, self.delay_of(message))
        return born + lifetime

    def _note_expiry(self, message: Message | PagedMessage, position: cython.ulonglong) -> int:
        held: Message
        if isinstance(message, PagedMessage):
            # When it was published, and what it says itself, is known when it has been read. Until then it has lived
            # since the queue got its time to live, as what was published before anybody asked for the time.
            self._expiries_missing = True
            if self.message_ttl_ms >= 0:
                self.expiries.push(now_ms() + self.message_ttl_ms, position)
            return 0
        held = message
        if self.message_ttl_ms < 0 and not held.traits & TRAIT_EXPIRES:
            return 0
        expiry: cython.ulonglong = self.expiry_of(held)
        if expiry < NEVER:
            self.expiries.push(expiry, position)
            if self.expiries.length() > 2 * (self.count + self.waiting.length()) + TIMES_GONE_MAX:
                self._forget_passed_expiries()
        return 0

    def _forget_passed_expiries(self) -> int:
        """Build the heap of expiries anew, from those of messages that are there.

        Those that have gone mostly came before all that are there, and are many more: they cost a comparison each.
        """
        part: ReadyMessages
        parts = [part for part in self.parts() if part.length()]
        waiting = {position for position, _, _ in self.groups.everything()} if self.groups is not None else set()
        firsts = [part.entries(0, 1)[0][0] for part in parts] + sorted(waiting)[:1]
        times = self.expiries.times_between(min(firsts), (1 << 64) - 1) if firsts else {}
        self.expiries.clear()
        for position, due_ms in times.items():
            for part in parts:
                if part.whereabouts(position) != NOT_HERE:
                    self.expiries.push(due_ms, position)
                    break
            else:
                if position in waiting:
                    self.expiries.push(due_ms, position)
        return 0

    def note_expiries(self, count_max: cython.Py_ssize_t) -> bool:
        """Note when messages expire of which that has changed, up to so many; return whether there are more."""
        part: ReadyMessages
        while self._unnoted and count_max > 0:
            part = self._unnoted[-1]
            found = part.entries(self._unnoted_from, count_max)
            for position, message, _ in found:
                self._note_expiry(message, position)
            if len(found) < count_max:
                self._unnoted.pop()
                self._unnoted_from = 0
            else:
                self._unnoted_from = position + 1
            count_max -= len(found)
        return bool(self._unnoted)

    def _inherit_expiries(self, before: "Backlog") -> None:
        """Take over when messages that are paged out expire, as far as the time to live is as it was."""
        if before.message_ttl_ms == self.message_ttl_ms:
            for position, due_ms in before.expiries.times_between(0, (1 << 64) - 1).items():
                if self._is_paged(position):
                    self.expiries.push(due_ms, position)

    def take_expired(self, now: cython.ulonglong, unread: cython.bint) -> Message | PagedMessage | None:
        """Take a message whose time is over, or None; ``taken_position`` says which.

        Only if ``unread`` it may be one that is paged out; otherwise those have to be paged in first.
        """
        while self.expiries.length() and self.expiries.first_due_ms() <= now:
            position: cython.ulonglong = self.expiries.first_position()
            if not unread and self._is_paged(position):
                return None
            self.expiries.pop()
            message = self.remove(position)
            if message is not None:
                return message
        return None

    def release_arrival(self, now: cython.ulonglong) -> bool:
        """Make the next message ready whose waiting is over. Returns whether there was one."""
        message = self.waiting.release(now)
        if message is None:
            return False
        self.offer(message, self.waiting.taken_position, self.waiting.taken_redelivered)
        return True

    def next_due_ms(self) -> int:
        """Return when something is due next, 0 for never."""
        expiry: cython.ulonglong = self.expiries.first_due_ms()
        arrival: cython.ulonglong = self.waiting.next_due_ms()
        if expiry == 0 or (arrival and arrival < expiry):
            return arrival
        return expiry

    # The whole

    def ready(self) -> list[Any]:
        """Return everything that is ready, as (position, message, redelivered), in no order."""
        found: list[Any] = []
        for level in self._levels:
            if level is not None:
                found += level.entries(0, len(level))
        for part in self._unsorted:
            found += part.entries(0, len(part))
        if self.groups is not None:
            found += self.groups.everything()
        return found

    def entries(self, from_position: int, count_max: int) -> list[Any]:
        """Return up to ``count_max`` ready messages by position, as (position, message, redelivered)."""
        found: list[Any] = []
        for level in self._levels:
            if level is not None:
                found += level.entries(from_position, count_max)
        for part in self._unsorted:
            found += part.entries(from_position, count_max)
        if self.groups is not None:
            found += [entry for entry in self.groups.everything() if entry[0] >= from_position]
        found.sort(key=itemgetter(0))
        return found[:count_max]
