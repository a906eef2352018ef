from broker.queueing.message import Message

class ReadyMessages:
    """The messages of a queue that wait for a consumer, in the order of their positions.

    New messages are appended to a ring; a message that comes back (requeued) goes into a heap beside it. Taking
    compares the first of both, so a requeued message is again where it was.

    A message can be removed from anywhere: its place in the ring stays empty until the ring's end reaches it, and
    the heap keeps an index of what is still in it from the first removal on.
    """

    def __len__(self) -> int: ...
    def push(self, message: Message, position: int, redelivered: bool) -> None:
        """Append a message whose position is greater than all others."""
    def restore(self, message: Message, position: int, redelivered: bool) -> None:
        """Put a message that was taken back to its place."""

    # The same for compiled callers, without the cost of a Python call.
    taken_position: int
    taken_redelivered: bool
    def length(self) -> int: ...
    def is_empty(self) -> bool: ...
    def append(self, message: Message, position: int, redelivered: bool) -> int: ...
    def put_back(self, message: Message, position: int, redelivered: bool) -> int: ...
    def take_first(self) -> Message | None: ...
    def insert(self, message: Message, position: int, redelivered: bool) -> int: ...
    def remove(self, position: int) -> Message | None: ...
    def place(self, message: Message, position: int, redelivered: bool) -> None:
        """Take in a message, whichever position it has."""
    def discard(self, position: int) -> Message | None:
        """Take the message at a position out from wherever it stands; None when there is none."""
    def entries(self, from_position: int, count_max: int) -> list[tuple[int, Message, bool]]:
        """Return up to ``count_max`` messages from a position on, in order, as (position, message, redelivered)."""
    def pop(self) -> tuple[Message, int, bool] | None:
        """Take the message with the lowest position, with its position and whether it was delivered before."""
