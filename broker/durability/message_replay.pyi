from typing import Any

from broker.durability.definitions import QueueDeclared
from broker.queueing.ready import ReadyMessages
from storage.replayer import Replayer
from storage.segment import Segment

class ReplayedQueue:
    """A queue, and its messages as far as the journal has them: all are paged out.

    ``returns`` are, by position, how often a message came back and the time before which it waits, in milliseconds
    since 1970. ``expiring`` are the positions of messages that have an expiration of their own, and maybe of some
    that are gone.

    A copy of a message stands before what it repeats of its fate, and the end of the log may have come between them.
    ``unrepeated_returns`` are the segments of such copies, by position, and ``delivered_unrepeated`` says whether there
    are copies of messages, or returns, behind the last record that tells how far the queue has delivered.
    """

    definition: QueueDeclared
    next_position: int
    delivered_position: int
    messages: ReadyMessages
    returns: dict[int, tuple[int, int]]
    unrepeated_returns: dict[int, Segment]
    delivered_unrepeated: bool
    expiring: set[int]

    def __init__(self, definition: QueueDeclared) -> None: ...
    def positions(self) -> list[int]:
        """Return the positions of the messages, in order."""

class MessageReplay(Replayer):
    """Takes in the summaries of a virtual host's records: messages by itself, the rest through its ``owner``.

    The owner is asked for queues that nobody has declared (``recover_queue``), and told of records of state
    (``take_state``). ``queues`` are those that there are, by number.
    """

    queues: dict[int, ReplayedQueue]
    def __init__(self, owner: Any) -> None: ...
    def close(self) -> None:
        """Let go of everything: what the queues have not taken over is not needed."""
    def forget_queue(self, number: int) -> None:
        """Drop a queue with its messages."""
