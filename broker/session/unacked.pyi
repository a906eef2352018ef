from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from storage.segment import Segment

ACKNOWLEDGE: int
REJECT: int
REQUEUE: int

class UnackedDeliveries:
    """What a channel has delivered and not seen settled, in the order of the delivery tags.

    A delivery is found by its tag in constant time as long as tags are dense, by binary search otherwise. The memory
    it takes is bounded by the number of unsettled deliveries, however far their tags are apart.
    """

    count: int
    position: int
    queue: Queue
    consumer: Consumer | None
    settled_count: int
    settled_of_consumers: int
    first_delivery_tag: int
    last_delivery_tag: int
    def push(
        self,
        delivery_tag: int,
        message: Message,
        position: int,
        queue: Queue,
        consumer: Consumer | None,
        tick: int = 0,
    ) -> None:
        """Append a delivery of the time ``tick``; its tag is greater than all others."""
    def delivered_before(self, tick: int, count_max: int) -> list[tuple[int, Queue, Consumer | None, int]]:
        """Return up to ``count_max`` deliveries from before ``tick``, as (delivery tag, queue, consumer, tick)."""
    def collect_held(
        self, segment: Segment, from_tag: int, count_max: int, found: dict[int, dict[int, Message]]
    ) -> int:
        """Add the messages that a segment holds to ``found``, by number of the queue and position.

        It looks at up to ``count_max`` deliveries from ``from_tag`` on, and returns where to go on, 0 for the end.
        """
    def pop(self, delivery_tag: int) -> Message | None:
        """Take a delivery out; ``position``, ``queue`` and ``consumer`` say the rest of it. None if there is none."""

    def settle_some(self, through_tag: int, how: int, count_max: int, queues: dict[Queue, None]) -> int:
        """Settle the first deliveries, up to a tag and so many; return how many, and add their queues to ``queues``.

        A queue into which something comes back is paused when it is added. Should one delivery fail, it is settled all
        the same, ``settled_count`` says how many were, it included, and the rest is left.
        """
    def restore(self, held: list[tuple[int, Message, int, Queue, Consumer | None]]) -> None:
        """Take deliveries back that were taken out, as (delivery tag, message, position, queue, consumer), by tag."""

    # The same for compiled callers, without the cost of a Python call.
    def append(
        self, delivery_tag: int, message: Message, position: int, queue: Queue, consumer: Consumer | None, tick: int
    ) -> int: ...
    def take(self, delivery_tag: int) -> Message: ...
    def forget_taken(self) -> int: ...
    def contains(self, delivery_tag: int) -> bool: ...
    def reaches(self, delivery_tag: int, count: int) -> bool: ...
    def first_tag(self) -> int: ...
    def last_tag(self) -> int: ...
    def tags(self) -> list[int]:
        """Return the tags of all unsettled deliveries, in order."""
