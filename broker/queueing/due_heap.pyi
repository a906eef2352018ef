class DueHeap:
    """Positions with the time when something is due for them, in milliseconds; the earliest comes first.

    Takes 16 bytes for each. What is no longer true stays in it until it is due: who asks checks.
    """

    def __len__(self) -> int: ...
    def add(self, due_ms: int, position: int) -> None:
        """Put in a position, greater than zero."""
    def times_between(self, first: int, last: int) -> dict[int, int]:
        """Return the times of the positions from ``first`` to ``last``."""
    def take(self) -> tuple[int, int] | None:
        """Take out the earliest time with its position."""

    def due_positions(self, now: int, count_max: int) -> list[int]:
        """Return the positions of up to ``count_max`` entries that are due, the earliest first; they stay."""

    # The same for compiled callers, without the cost of a Python call.
    def length(self) -> int: ...
    def first_due_ms(self) -> int:
        """Return the earliest time, 0 when there is none."""
    def first_position(self) -> int:
        """Return the position with the earliest time, 0 when there is none."""
    def push(self, due_ms: int, position: int) -> int: ...
    def pop(self) -> int: ...
    def clear(self) -> None: ...
