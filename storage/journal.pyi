from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import final

from storage.compactor import Mover
from storage.disk import Disk
from storage.errors import JournalFailed
from storage.fetcher import Fetch
from storage.machine import Machine
from storage.options import JournalOptions
from storage.postponed import Obstacle
from storage.recovery import Recovery
from storage.replayer import Replayer
from storage.segment import Segment

@final
class Journal:
    current: Segment
    sequence: int
    open_batch: int
    durable_batch: int
    durable_sequence: int
    checkpoint_sequence: int
    failed: bool
    error: JournalFailed | None
    completion_fd: int
    stuck: bool
    housekeeping_failures: int
    keeps_history: bool

    def __init__(
        self,
        recovery: Recovery,
        *,
        durable: Callable[[int], object],
        failed: Callable[[JournalFailed], object],
        snapshot: Callable[[], Generator[None, None, Sequence[bytes]]] | None = None,
        fetched: Callable[[Fetch], object] | None = None,
        room: Callable[[], object] | None = None,
        replayer: Replayer | None = None,
        options: JournalOptions | None = None,
        disk: Disk | None = None,
        machine: Machine | None = None,
    ) -> None: ...
    def append(self, kind: int, payload: bytes, unit_ends: bool = True) -> int: ...
    def retain(self, segment: Segment, units: int = 0) -> None: ...
    def release(self, segment: Segment, units: int = 0) -> None: ...
    def segment(self, number: int) -> Segment:
        """Return the segment of that number. Raises KeyError if it is gone."""
    def find_segment(self, number: int) -> Segment | None:
        """Return the segment of that number, None if it is gone."""
    def compact_with(self, mover: Mover) -> None:
        """Have ``mover`` move what is needed out of old segments.

        The owner then tells by ``settled_sequence`` and ``supersede`` of segments what they need of later ones.
        """
    @property
    def living_bytes(self) -> int: ...
    @property
    def log_bytes(self) -> int: ...
    @property
    def compacted_bytes(self) -> int: ...
    @property
    def segments_passed_over(self) -> int: ...
    def fetch(self, fetch: Fetch) -> bool:
        """Have records read back; ``fetched`` is called with them. Returns False if too much is being read."""
    def add_sources(self, fetch: Fetch) -> None:
        """Tell a fetch that goes another way what it has to know of the segments."""
    @property
    def directory(self) -> Path: ...
    def quarantine(self, number: int, offset: int, size: int) -> None:
        """Keep a copy of the damaged record of segment ``number`` at ``offset``, so that the segment may go."""
    def commit(self) -> bool: ...
    def on_commit_finished(self) -> None: ...
    def retry(self) -> None: ...
    def save_room(self, low: bool) -> None: ...
    def reconsider(self) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...
    @property
    def pending_batch(self) -> int:
        """The number of the batch that has the last record, as long as it is not on disk; then 0."""
    @property
    def out_of_room(self) -> Obstacle | None: ...
    @property
    def taken_bytes(self) -> int: ...
    @property
    def obstacles(self) -> list[Obstacle]: ...
    @property
    def in_flight_work(self) -> str: ...
    @property
    def gathering_bytes(self) -> int: ...
    @property
    def in_flight_seconds(self) -> float: ...
    @property
    def sync_count(self) -> int: ...
    @property
    def sync_seconds(self) -> float: ...
    @property
    def last_sync_seconds(self) -> float: ...
    @property
    def batch_count(self) -> int: ...
    @property
    def bytes_written(self) -> int: ...
    @property
    def segment_count(self) -> int: ...
    @property
    def live_record_count(self) -> int: ...
    def segments(self) -> list[Segment]: ...
    def sealed_segments(self) -> list[int]: ...
    def sync_histogram(self) -> list[tuple[float, int]]: ...
