from collections.abc import Iterable
from typing import Any

from broker.durability.queue_log import VirtualHostJournal
from storage.segment import Segment

class EvacuationMover:
    """Moves messages from an old segment to the end of the log, for ``storage.compactor``.

    It knows where the messages of a segment are: ready or waiting ones are found by their position, and the
    unacknowledged ones are collected once, after which ``VirtualHostJournal.attend`` keeps that up to date. What is in
    nobody's hands for a moment (dead letters on their way, a purge) stays, and the segment with it, for a later pass.
    ``channels`` are those that may have unacknowledged messages.
    """

    moved_bytes: int
    moved_count: int
    pager: Any
    damaged_count: int
    damaged_offset: int
    has_copies: bool
    waits: bool
    def __init__(self, journal: VirtualHostJournal, channels: Iterable[Any]) -> None: ...
    def begin(self, segment: Segment) -> None: ...
    def prepare(self) -> bool: ...
    def offer(self, data: bytes, offset: int) -> None: ...
    def move(self) -> bool: ...
    def next_piece(self) -> tuple[int, int]: ...
    def clear(self) -> bool: ...
    def unacked_places(self) -> list[tuple[int, int, int, int]]:
        """Return which of the segment's messages are unacknowledged, as ``Leftovers`` knows places."""
    def rewrite(self, location: int, places: list[tuple[int, int]]) -> int:
        """Write a message of the record at ``location`` anew from memory, for those of the queues that hold it there.

        Returns how many bytes that were; 0 if none does, or if somebody else has it in hand.
        """
    def end(self) -> bool: ...
    def written(self, batch: int) -> None:
        """Take in that the journal has written everything up to ``batch``."""
