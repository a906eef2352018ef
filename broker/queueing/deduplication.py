"""Deduplication: a message that has come already is not taken a second time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from broker.queueing.message import Message
from protocol.amqp.header_fields import find_field, message_id_of

KEY_SIZE_MAX_BYTES = 255
"""Longer keys are not looked at: their messages are never duplicates."""


class Deduplicator:
    """The keys of the messages that a queue or an exchange has taken, within a window of time and count.

    The key of a message is its message-id, or a header if ``header_name`` is given; without a key it is no
    duplicate. ``on_remember(key, time_ms)`` is called for each key that is to be kept on disk.
    """

    def __init__(
        self,
        *,
        window_ms: int,
        count_max: int,
        header_name: str | None = None,
        on_remember: Callable[[bytes, int], None] | None = None,
    ) -> None:
        self.window_ms = window_ms
        self.count_max = count_max
        self.header_name = None if header_name is None else header_name.encode("utf-8", "surrogateescape")
        self._on_remember = on_remember
        self._seen: OrderedDict[bytes, tuple[int, bool]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def key_of(self, message: Message) -> bytes | None:
        """Return the key of a message, None if it has none."""
        if self.header_name is None:
            key = message_id_of(message.header)
        else:
            key = find_field(message.header, self.header_name)
        return key if key and len(key) <= KEY_SIZE_MAX_BYTES else None

    def is_duplicate(self, message: Message, now_ms: int) -> bool:
        """Return whether a message with the same key has been taken within the window."""
        key = self.key_of(message)
        if key is None:
            return False
        seen = self._seen.get(key)
        return seen is not None and seen[0] + self.window_ms > now_ms

    def remember(self, message: Message, now_ms: int) -> None:
        """Keep the key of a message that is taken.

        That of a transient one is forgotten with it at a restart: the next with that key has to be taken then.
        """
        key = self.key_of(message)
        if key is not None:
            self._keep(key, now_ms, message.persistent)
            if self._on_remember is not None and message.persistent:
                self._on_remember(key, now_ms)

    def restore(self, key: bytes, seen_at_ms: int) -> None:
        """Keep a key that was seen at a time, as the journal says."""
        self._keep(key, seen_at_ms, True)

    def inherit(self, before: Deduplicator) -> None:
        """Take over what another one has seen, if its keys are of the same kind."""
        if before.header_name == self.header_name:
            for key, (seen_at_ms, persistent) in before._seen.items():
                self._keep(key, seen_at_ms, persistent)

    def _keep(self, key: bytes, seen_at_ms: int, persistent: bool) -> None:
        self._seen[key] = (seen_at_ms, persistent)
        self._seen.move_to_end(key)
        while len(self._seen) > self.count_max:
            self._seen.popitem(last=False)
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest][0] + self.window_ms > seen_at_ms:
                break
            del self._seen[oldest]

    def items(self) -> Iterable[tuple[bytes, int]]:
        """Return the keys that survive a restart with the times when they were seen, the oldest first."""
        return [(key, seen_at_ms) for key, (seen_at_ms, persistent) in self._seen.items() if persistent]
