from typing import Any, final

from storage.replayer import Replayer
from storage.segment import Segment

@final
class RecordReader:
    offset: int
    batch_offset: int
    sequence: int
    mark: int
    unit_segment: Segment | None
    unit_offset: int
    unit_sequence: int
    reclaimed: bytes | None

    def __init__(self, state_through: int) -> None: ...
    def begin(self, segment: Segment, data: bytes, offset: int, seed: int, epoch: int) -> None: ...
    def resume(self, offset: int, sequence: int) -> None: ...
    def leap(self, sequence: int) -> list[Any]:
        """Go on with the record ``sequence``, behind segments that were not needed; return what is left of a unit."""
    def read(self, count_max: int) -> list[Any]: ...
    def replay_index(
        self, segment: Segment, stream: bytes, offset: int, first_sequence: int, replayer: Replayer
    ) -> None: ...
