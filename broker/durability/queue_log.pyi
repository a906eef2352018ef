from collections.abc import Callable
from typing import Any, Final

from broker.queueing.message import Message
from storage.journal import Journal

RECORD_KINDS: Final[dict[str, int]]

class QueueLog:
    """A durable queue's side of the journal.

    What is settled (acknowledged, dropped, purged) and how far the queue has delivered is gathered here during a
    turn of the event loop, and written as one record at its end.
    """

    owner: Final[VirtualHostJournal]
    number: Final[int]
    delivered_position: int
    def __init__(self, owner: VirtualHostJournal, number: int) -> None:
        """``number`` identifies the queue in the journal, and is never used again for another one."""
    def acknowledge(self, message: Message, position: int) -> None: ...
    def acknowledge_paged(self, location: int, share_units: int, position: int) -> None:
        """Do as ``acknowledge`` for a message that is paged out."""
    def mark_delivered(self, message: Message, position: int) -> None: ...
    def restore_delivered(self, position: int, written_position: int) -> None:
        """Take over how far the queue had delivered, or may have, and what the journal says about it."""
    def keep_delivered(self) -> None:
        """Have it written how far the queue has delivered, if the journal does not say so yet."""
    def write_return(self, message: Message, position: int, count: int, not_before_ms: int) -> None:
        """Note how often a message has been delivered, and when it may come again (milliseconds since 1970)."""
    def put_return(self, position: int, count: int, not_before_ms: int) -> None:
        """Do as ``write_return`` for a message that is paged out; its segment has to be told what it needs."""
    def drop(self) -> None:
        """Write nothing more: the queue has been deleted, and its definition's removal says it all."""

class VirtualHostJournal:
    """What one virtual host writes into its journal."""

    journal: Final[Journal]
    unit_depth: int
    commit_wanted: bool
    holders: dict[int, Any]
    """By number, the queues in whose names there are messages in the journal."""
    def __init__(self, journal: Journal, touched: Callable[[], None]) -> None:
        """``touched`` is called when there is something to write or to commit at the end of the turn.

        It is called once, until ``commit_wanted`` is set to False.
        """
    def publish_to_one(self, message: Message, log: QueueLog, position: int) -> int:
        """Write a message for one queue; return the number of the batch that makes it durable."""
    def publish_to_many(self, message: Message, logs: list[QueueLog | None], positions: list[int]) -> int:
        """Write a message for several queues, with its position in each; return the batch that makes it durable.

        The log of a queue that is not durable is None; without any other there is nothing to write, and 0 is returned.
        """
    def write_paged(self, message: Message, queue_number: int, position: int) -> int:
        """Write a message that is in no other record, for one queue; return where it is.

        It means nothing after a restart. ``release_paged`` has to be called in the end, with the size of its record.
        """
    def release_paged(self, location: int, share_units: int) -> None:
        """Say that one queue less needs the record at a place."""
    def begin_unit(self) -> None:
        """Make all records until ``end_unit()`` one: after a crash there are all of them or none.

        Units may be nested; the outermost counts.
        """
    def end_unit(self) -> int:
        """Finish the unit; return the number of the batch that makes it durable, 0 if it has no records."""
    def define(self, payload: bytes, kind: int = ...) -> int:
        """Write a definition, or a record of another ``kind``; return the batch that makes it durable."""
    def write_settled(self) -> None:
        """Write what the queues have gathered."""

def paged_share_units(message: Message) -> int:
    """Return the size of the record that ``write_paged`` writes, in units."""

def decode_publish(payload: bytes, timed: bool = False) -> tuple[list[tuple[int, int]], Message]:
    """Return the queues (number, position) of a publish record (``timed``: with its time), and the message."""

def decode_return(payload: bytes) -> tuple[int, int, int, int]:
    """Return queue number, position, delivery count and the time before which it waits, of a return record."""

def decode_settle(payload: bytes) -> tuple[int, int, list[tuple[int, int]]]:
    """Return queue number, delivered position and settled ranges (first and last position) of a settle record."""
