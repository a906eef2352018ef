"""What must hold of a queue after crashes: a model of what was promised, and the difference to what came back."""

from dataclasses import dataclass, field


@dataclass
class QueueModel:
    """One queue with one publisher, who numbers its messages upwards.

    ``confirmed`` were promised to be there; ``published`` may be there; ``acked`` were acknowledged, but whether that
    has reached the disk is not known; ``settled`` were acknowledged for sure, because something that was published
    after the acknowledgement has been confirmed since.
    """

    published: set[int] = field(default_factory=set)
    confirmed: set[int] = field(default_factory=set)
    acked: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)

    def problems(self, found: list[int]) -> dict[str, list[int]]:
        """Compare with what the queue holds, in its order; an empty answer is a right one."""
        present = set(found)
        problems = {
            "lost": sorted(self.confirmed - self.acked - self.settled - present),
            "duplicated": sorted({number for number in found if found.count(number) > 1})
            if len(found) > len(present)
            else [],
            "resurrected": sorted(present & self.settled),
            "unexpected": sorted(present - self.published),
            "reordered": [] if found == sorted(found) else found,
        }
        return {name: numbers for name, numbers in problems.items() if numbers}

    def accept(self, found: list[int]) -> None:
        """Begin anew with what the queue holds: it has been synced by recovery."""
        self.confirmed = set(found)
        self.published = set(found)
        self.settled |= self.acked - set(found)
        self.acked = set()
