from typing import Final, final

UNIT_SIZE: Final[int]
"""What places and sizes of records are counted in, in bytes."""

@final
class Segment:
    number: int
    live: int
    live_units: int
    size: int
    last_sequence: int
    state_sequence: int
    sealed: bool
    written_size: int
    epoch: int
    created_us: int
    capacity: int
    settled_sequence: int
    superseded: bool

    @property
    def seed(self) -> int: ...
    def __init__(self, number: int, epoch: int = 0, seed: int = 0) -> None: ...
    def retain(self, units: int = 0) -> None: ...
    def release(self, units: int = 0) -> None: ...
    def supersede(self) -> None: ...
    def be_checked_with(self, seed: int, epoch: int) -> None: ...
    def seal(self) -> None: ...
    def cut(self, size: int, last_sequence: int) -> None: ...
