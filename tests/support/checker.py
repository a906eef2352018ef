"""What must hold of a queue after crashes: a model of what was promised, and the difference to what came back."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class QueueModel:
    """Messages with numbers upwards from one publisher, in one queue or in several through which they go.

    ``confirmed`` were promised to be there; ``published`` may be there; ``acked`` were acknowledged, but whether that
    has reached the disk is not known; ``settled`` were acknowledged for sure, because something that was published
    after the acknowledgement has been confirmed since. All but ``settled`` begin anew with each ``accept``.
    """

    published: set[int] = field(default_factory=set)
    confirmed: set[int] = field(default_factory=set)
    acked: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)
    next_number: int = 1

    def publish(self, number: int) -> None:
        """Take note that a message is being published."""
        self.published.add(number)
        self.next_number = number + 1

    def problems(self, found: list[int], *, ordered: bool = True) -> dict[str, list[int]]:
        """Compare with what there is, in its order; an empty answer is a right one."""
        present = set(found)
        problems = {
            "lost": sorted(self.confirmed - self.acked - self.settled - present),
            "duplicated": sorted(number for number, count in Counter(found).items() if count > 1)
            if len(found) > len(present)
            else [],
            "resurrected": sorted(present & self.settled),
            "unexpected": sorted(present - self.published - self.settled),
            "reordered": found if ordered and found != sorted(found) else [],
        }
        return {name: numbers for name, numbers in problems.items() if numbers}

    def accept(self, found: list[int]) -> None:
        """Begin anew with what there is: it has been synced by recovery."""
        self.confirmed = set(found)
        self.published = set(found)
        self.settled |= self.acked - set(found)
        self.acked = set()

    def drained(self) -> None:
        """Begin anew with nothing: all of it has been taken out for sure."""
        self.settled |= self.confirmed
        self.accept([])
