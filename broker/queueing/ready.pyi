from broker.queueing.message import Message

class ReadyMessages:
    """The messages of a queue that wait for a consumer, in the order of their positions.

    New messages are appended to a ring. A message that comes back (requeued) goes into a heap beside it: whatever
    was taken once stood before everything that is still in the ring, so the heap always goes first, and a requeued
    message is again where it was.
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
    def append(self, message: Message, position: int, redelivered: bool) -> int: ...
    def put_back(self, message: Message, position: int, redelivered: bool) -> int: ...
    def take_first(self) -> Message | None: ...
    def pop(self) -> tuple[Message, int, bool] | None:
        """Take the message with the lowest position, with its position and whether it was delivered before."""
