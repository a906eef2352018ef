"""What happened in a run, in order: kept as a checksum, and in words as far as somebody wants to read them."""

import zlib
from collections import deque

LINES_KEPT = 20_000


class Trace:
    """Two runs are the same when their ``checksum`` is."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.checksum = 0

    def note(self, line: str) -> None:
        self.checksum = zlib.crc32(line.encode("utf-8", "backslashreplace"), self.checksum)
        self.lines.append(line)
