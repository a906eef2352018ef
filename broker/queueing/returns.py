"""How often messages have come back to a queue, and how long they wait because of that."""

from typing import Any

import cython

COUNT_BITS = 32
COUNT_MASK = (1 << COUNT_BITS) - 1


class Returns:
    """By position, what was written about a message when it came back last.

    That is how often it has come back, and the time before which it must not be delivered again, in milliseconds since
    1970, 0 for none. A time that has passed stays, and says nothing any more. Both are in one number: another
    dictionary for the times would take some hundred octets more for each message that waits.
    """

    def __init__(self) -> None:
        # Most queues never count anything.
        self._by_position: dict[int, int] | None = None

    def note(self, position: cython.ulonglong, count: cython.uint, not_before_ms: cython.ulonglong) -> int:
        """Take down that a message has come back."""
        # As an object: it takes more than 64 bits.
        held: Any = not_before_ms
        if self._by_position is None:
            self._by_position = {}
        self._by_position[position] = held << COUNT_BITS | count if not_before_ms else count
        return 0

    def count(self, position: cython.ulonglong) -> int:
        """Return how often a message has come back, 0 if that is not known."""
        if not self._by_position:
            return 0
        held: Any = self._by_position.get(position, 0)
        return int(held & COUNT_MASK)

    def not_before_ms(self, position: cython.ulonglong) -> int:
        """Return the time before which a message must not be delivered again, 0 for none."""
        if not self._by_position:
            return 0
        held: Any = self._by_position.get(position, 0)
        return int(held >> COUNT_BITS)

    def forget(self, position: cython.ulonglong) -> int:
        """Forget about a message, and return how often it has come back."""
        if not self._by_position:
            return 0
        held: Any = self._by_position.pop(position, 0)
        return int(held & COUNT_MASK)

    def adopt(self, counts: dict[int, int]) -> None:
        """Take over how often messages have come back that do not wait."""
        self._by_position = counts
