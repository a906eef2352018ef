"""Publisher confirms of a channel: which publish waits for which batch of the journal."""

from collections import deque

import cython


class Confirms:
    """The confirms that a channel owes.

    They are given in the order of the publishes: one that waits for nothing is confirmed with the one before it. So
    what is due is always a single basic.ack, with ``multiple`` where it covers more than one.

    ``published`` is the sequence number of the last publish, ``due`` of the last one that may be confirmed, and
    ``confirmed`` of the last one that was.
    """

    def __init__(self) -> None:
        self.published = 0
        self.confirmed = 0
        self.due = 0
        # Pairs of batch and last sequence number that waits for it, both ascending.
        self._batches: deque[tuple[int, int]] = deque()
        self._rejected: deque[int] = deque()

    def publish(self, batch: cython.ulonglong) -> int:
        """Count a publish that waits for ``batch`` of the journal, 0 for none. Returns 1 if a confirm is due now."""
        self.published += 1
        sequence: cython.ulonglong = self.published
        if not self._batches:
            if batch == 0:
                self.due = sequence
                return 1
            self._batches.append((batch, sequence))
            return 0
        last: cython.ulonglong = self._batches[-1][0]
        if batch == 0 or batch == last:
            self._batches[-1] = (last, sequence)
        else:
            self._batches.append((batch, sequence))
        return 0

    def reject(self) -> None:
        """Count a publish that a queue has refused: it gets a basic.nack, when those before it are confirmed."""
        self.publish(0)
        self._rejected.append(self.published)

    def take_rejected(self) -> list[int]:
        """Return the sequence numbers of the publishes that are due to be refused, in order."""
        if not self._rejected:
            return []
        taken = []
        while self._rejected and self._rejected[0] <= self.due:
            taken.append(self._rejected.popleft())
        return taken

    def durable(self, batch: cython.ulonglong) -> bool:
        """Take in that all batches up to ``batch`` are on disk. Returns whether a confirm has become due."""
        found = False
        while self._batches and self._batches[0][0] <= batch:
            self.due = self._batches.popleft()[1]
            found = True
        return found

    def waits(self) -> bool:
        """Return whether some publish waits for the journal."""
        return bool(self._batches)

    def mark_confirmed(self, last: int) -> tuple[int, bool]:
        """Count all up to ``last`` as confirmed. Returns the delivery tag to answer, and whether it covers several."""
        multiple = last - self.confirmed > 1
        self.confirmed = last
        return last, multiple
