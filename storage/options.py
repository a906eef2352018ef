"""What an owner may choose about a journal."""

from dataclasses import dataclass

SEGMENT_SIZE_MIN = 4096


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Sizes of a journal's files.

    ``segment_size`` is that of a segment in bytes. ``first_segment_size`` is that of the very first, which is made
    while a client waits for it. ``spare_files_max`` is how many segments that are not needed any more are kept to be
    overwritten. ``retention_s`` and ``retention_bytes`` say how long, and how much of, what is not needed any more is
    kept: 0 sets no such limit, and with both 0 nothing is kept (``storage.retention``).
    """

    segment_size: int = 64 << 20
    first_segment_size: int = 4 << 20
    spare_files_max: int = 2
    retention_s: int = 0
    retention_bytes: int = 0

    def __post_init__(self) -> None:
        if min(self.segment_size, self.first_segment_size) < SEGMENT_SIZE_MIN:
            raise ValueError(f"a segment has at least {SEGMENT_SIZE_MIN} bytes")
