from typing import Any

from storage.segment import Segment

class Replayer:
    """Whoever owns a journal: summarizes its records, and takes the summaries in at a start.

    A summary is what a start needs of a record; those of sealed segments are kept in their indexes. Compiled
    subclasses override ``summarize`` and ``take``; others ``on_record``, and their summaries are the payloads.
    """

    def on_record(self, kind: int, sequence: int, summary: bytes, segment: Segment, offset: int) -> None: ...
    def take_records(self, records: list[Any]) -> None: ...
