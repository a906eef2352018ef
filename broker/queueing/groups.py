"""Message groups: messages with the same key are handed out one after the other, whoever takes them."""

from collections import OrderedDict
from typing import Any

import cython

from broker.queueing.message import Message
from broker.queueing.ready import ReadyMessages
from protocol.amqp.header_fields import find_field


class Group:
    """The messages of one key: at most one is offered to consumers or out with one, the others wait.

    ``offered`` and ``out`` are its position, 0 for none.
    """

    def __init__(self) -> None:
        self.out = 0
        self.offered = 0
        self.waiting = ReadyMessages()


class MessageGroups:
    """The groups of a queue, by the value of a header. A message without that header belongs to none.

    A key is *busy* from the delivery of its message until that is settled or has come back. So the messages of a key
    are never processed side by side nor out of order, while those of other keys go on.
    """

    def __init__(self, header_name: str) -> None:
        self.header_name = header_name.encode("utf-8", "surrogateescape")
        self._groups: dict[bytes, Group] = {}
        # In the order of their coming, so that the one that waits longest is found at once.
        self._waiting: OrderedDict[int, bytes] = OrderedDict()
        # What is being dropped, and for whom: its keys may be busy still.
        self._before: MessageGroups | None = None
        self._heir: MessageGroups | None = None
        self.dropped: Message | None = None
        self.position = 0
        self.redelivered = False

    def admit(self, message: Message, position: cython.ulonglong, redelivered: cython.bint) -> bool:
        """Return whether a message is to be offered now; if not, it waits here."""
        key = find_field(message.header, self.header_name)
        if key is None:
            return True
        if key not in self._groups and not self._inherits(key):
            self._groups[key] = Group()
        group: Group = self._groups[key]
        if group.out or group.offered:
            group.waiting.insert(message, position, redelivered)
            self._waiting[position] = key
            return False
        group.offered = position
        return True

    def taken(self, message: Message, position: cython.ulonglong) -> int:
        """Take in that the message that was offered has gone to a consumer, or for good."""
        key = find_field(message.header, self.header_name)
        if key is not None:
            group: Group = self._groups[key]
            group.offered = 0
            group.out = position
        return 0

    def next_after(self, message: Message, position: cython.ulonglong) -> Message | None:
        """Take in that a group is no longer busy with a message; return the next one to be offered, if any.

        ``position`` and ``redelivered`` say the rest about it.
        """
        key = find_field(message.header, self.header_name)
        if key is None:
            return None
        if key not in self._groups and not self._inherits(key):
            return None
        group: Group = self._groups[key]
        # What went out before the queue had groups keeps none of them busy.
        if group.out != position:
            return None
        group.out = 0
        following = group.waiting.take_first()
        if following is None:
            del self._groups[key]
            return None
        self.position = group.waiting.taken_position
        self.redelivered = group.waiting.taken_redelivered
        del self._waiting[self.position]
        group.offered = self.position
        return following

    def oldest_waiting(self) -> int:
        """Return the position of the message that waits here for the longest time, 0 if there is none."""
        return next(iter(self._waiting), 0)

    def remove(self, position: cython.ulonglong) -> Message | None:
        """Take out a message that waits here."""
        key = self._waiting.pop(position, None)
        if key is None:
            return None
        group: Group = self._groups[key]
        message: Any = group.waiting.remove(position)
        self.redelivered = group.waiting.taken_redelivered
        return cython.cast(Message, message)

    def part_of(self, position: cython.ulonglong) -> ReadyMessages | None:
        """Return where a message is that waits here; None if it does not."""
        key = self._waiting.get(position)
        if key is None:
            return None
        group: Group = self._groups[key]
        return group.waiting

    def parts(self) -> list[ReadyMessages]:
        """Return everything in which messages wait."""
        found = []
        group: Group
        for group in self._groups.values():
            found.append(group.waiting)
        return found

    def inherit(self, before: "MessageGroups") -> None:
        """Take over which keys are busy, from the groups by the same header before the settings changed."""
        group: Group
        if before.header_name == self.header_name:
            for key, group in before._groups.items():
                if group.out:
                    self.take_busy(key, group.out)

    # Dropping everything

    def leave(self) -> "MessageGroups":
        """Hand over everything that waits here, to be dropped with ``drop_next``. Keys that are busy stay so."""
        old = MessageGroups("")
        old.header_name = self.header_name
        old._groups, self._groups = self._groups, old._groups
        old._waiting, self._waiting = self._waiting, old._waiting
        old._before, self._before = self._before, old
        old._heir = self
        return old

    def drop_next(self) -> bool:
        """Take the next thing out: a message, ``dropped`` from ``position``, or (None) what was kept about some.

        Returns False at the end.
        """
        group: Group
        self.dropped = None
        if self._waiting:
            self.position, key = self._waiting.popitem(last=False)
            group = self._groups[key]
            message: Any = group.waiting.remove(self.position)
            self.dropped = message
            return True
        if self._groups:
            key, found = self._groups.popitem()
            group = found
            if group.out and self._heir is not None:
                self._heir.take_busy(key, group.out)
            return True
        self._heir = None
        return False

    def take_busy(self, key: bytes, position: cython.ulonglong) -> int:
        """Take over that a key is busy."""
        if key not in self._groups:
            mine = Group()
            mine.out = position
            self._groups[key] = mine
        return 0

    def _inherits(self, key: bytes) -> bool:
        """Take over a key that was busy when everything was dropped, if it still is. Returns whether it is here now."""
        before = self._before
        while before is not None:
            if key in before._groups:
                group: Group = before._groups[key]
                if group.out:
                    self.take_busy(key, group.out)
                    group.out = 0
                    return True
            elif before is self._before and not before._groups:
                self._before = before._before
            before = before._before
        return False

    def everything(self) -> list[Any]:
        """Return all messages that wait here, as (position, message, redelivered)."""
        found = []
        group: Group
        for group in self._groups.values():
            found += group.waiting.entries(0, group.waiting.length())
        return found
