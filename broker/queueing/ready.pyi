from typing import Final

from broker.queueing.budget import MemoryBudget
from broker.queueing.entry_blocks import EntryBlocks
from broker.queueing.message import Message
from storage.fetcher import Fetch
from storage.segment import Segment

NOT_HERE: Final = 0
IN_MEMORY: Final = 1
PAGED_OUT: Final = 2

class PagedMessage:
    """A message of which only the place in the journal is in memory.

    ``location`` is the number of the segment, times two to the power of 32, plus the offset there in units of eight
    octets; ``share_units`` is how much of the record the queue answers for, in the same units.
    """

    location: int
    body_size: int
    share_units: int

def body_size(message: Message | PagedMessage) -> int:
    """Return the size of a message's body, in memory or paged out."""

class ReadyMessages(EntryBlocks):
    """The messages of a queue that wait for a consumer, in the order of their positions.

    A message can be inserted and removed anywhere; one that comes back (requeued) is again where it was.

    An entry has its message in memory, or *paged out*: then it has only the place where the journal keeps it. A paged
    out message is handed around as a ``PagedMessage``, and has to be paged in before it can be delivered.
    """

    def __init__(self, budget: MemoryBudget = ...) -> None: ...
    def __len__(self) -> int: ...
    def push(self, message: Message, position: int, redelivered: bool) -> None:
        """Append a message whose position is greater than all others."""

    # The same for compiled callers, without the cost of a Python call.
    paged_count: int
    memory_bytes: int
    taken_position: int
    taken_redelivered: bool
    def length(self) -> int: ...
    def is_empty(self) -> bool: ...
    def first_position(self) -> int: ...
    def first_is_paged(self) -> bool: ...
    def wants_pages(self, count_min: int) -> bool: ...
    def append(self, message: Message, position: int, redelivered: bool) -> int: ...
    def append_paged(
        self, location: int, body_size: int, share_units: int, position: int, redelivered: bool
    ) -> int: ...
    def take_first(self) -> Message | None: ...
    def take_any(self) -> Message | PagedMessage | None: ...
    def insert(self, message: Message | PagedMessage, position: int, redelivered: bool) -> int: ...
    def remove(self, position: int) -> Message | PagedMessage | None: ...
    def whereabouts(self, position: int) -> int: ...
    def page_out(
        self, keep_bytes: int, count_max: int, unwritten: list[tuple[int, Message]], recorded: bool
    ) -> int: ...
    def page_out_one(self, position: int, message: Message, location: int, share_units: int) -> bool: ...
    def page_in(self, position: int, location: int, message: Message) -> bool: ...
    def collect_paged(self, fetch: Fetch, count_max: int, size_max_bytes: int) -> int: ...
    def drop_between(self, first: int, last: int, segments: dict[int, Segment]) -> int: ...
    def flag_redelivered(self, through: int) -> None: ...
    def adopted_by(self, budget: MemoryBudget) -> int: ...
    def collect_one(self, fetch: Fetch, position: int) -> bool: ...
    def relocate(self, position: int, before: int, after: int, share_units: int = 0) -> bool: ...
    def place(self, message: Message | PagedMessage, position: int, redelivered: bool) -> None:
        """Take in a message, whichever position it has."""
    def discard(self, position: int) -> Message | PagedMessage | None:
        """Take the message at a position out from wherever it stands; None when there is none."""
    def entries(self, from_position: int, count_max: int) -> list[tuple[int, Message | PagedMessage, bool]]:
        """Return up to ``count_max`` messages from a position on, in order, as (position, message, redelivered)."""
    def find_in(self, number: int, from_position: int, count_max: int, found: list[tuple[int, int, int]]) -> int:
        """Add messages to ``found`` that the journal keeps in the segment of a number, wherever else they are.

        They come as (position, location, size of the body, or -1 if it is in memory). About ``count_max`` messages are
        looked at from a position on; returns the one from which to go on, 0 at the end.
        """
    def pop(self) -> tuple[Message | PagedMessage, int, bool] | None:
        """Take the message with the lowest position, with its position and whether it was delivered before."""
