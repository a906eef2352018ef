"""Room that a journal holds back for a full disk: a file for one more segment, and the room of a checkpoint.

What consumers settle has to be written before any file can go, and so has the checkpoint that stands for the state in
the oldest files. A journal that has filled its disk itself could do neither, and would wait for ever.
"""

from contextlib import suppress
from pathlib import Path

from storage.filesystem import Filesystem
from storage.layout import RESERVED_CHECKPOINT_NAME, RESERVED_SEGMENT_NAME

CHECKPOINT_DIVISOR = 4
"""A checkpoint is expected to take a quarter of a segment, at most ..."""

CHECKPOINT_GROWTH = 2
"""... or so many times what the one before took."""


class Reserve:
    """The two files, which hold nothing: what counts is the room they take. They outlast the process.

    They are not filled with zeros, as segments are: the room is there, and that writing into it is slower matters to
    nobody when publishers wait.
    """

    def __init__(self, filesystem: Filesystem, directory: Path, segment_size: int) -> None:
        self.segment_path = directory / RESERVED_SEGMENT_NAME
        self._checkpoint_path = directory / RESERVED_CHECKPOINT_NAME
        self._filesystem = filesystem
        self._segment_size = segment_size
        self._checkpoint_size = segment_size // CHECKPOINT_DIVISOR
        self._has_segment = False
        self._has_checkpoint = False

    @property
    def is_whole(self) -> bool:
        """Whether both files are there."""
        return self._has_segment and self._has_checkpoint

    def find(self) -> None:
        """See what an earlier process has left."""
        with suppress(OSError):
            self._has_segment = self._filesystem.size(self.segment_path) == self._segment_size
        with suppress(OSError):
            size = self._filesystem.size(self._checkpoint_path)
            self._has_checkpoint = size >= self._checkpoint_size

    def make_next(self) -> int:
        """Make a file that is missing, and return its size. Raises OSError."""
        if not self._has_segment:
            self._make(self.segment_path, self._segment_size)
            self._has_segment = True
            return self._segment_size
        self._make(self._checkpoint_path, self._checkpoint_size)
        self._has_checkpoint = True
        return self._checkpoint_size

    def _make(self, path: Path, size: int) -> None:
        # It is not synced: what a loss of power takes away of it is free then, to be taken once more.
        descriptor = self._filesystem.open(path, create=True)
        try:
            self._filesystem.allocate(descriptor, size)
        except OSError:
            with suppress(OSError):
                self._filesystem.remove(path)
            raise
        finally:
            self._filesystem.close(descriptor)

    def take_segment(self) -> Path | None:
        """Give the file for a segment away, if it is there."""
        if not self._has_segment:
            return None
        self._has_segment = False
        return self.segment_path

    def has_use_for(self, path: Path) -> bool:
        """Say whether the file of a segment that is not needed any more can be that of the reserve."""
        return not self._has_segment and self._filesystem.size(path) == self._segment_size

    def put_segment(self) -> None:
        """Take note that there is a file for a segment again, and that it has no other name for sure."""
        self._has_segment = True

    def give_up_checkpoint(self) -> bool:
        """Let a checkpoint have the room that is held for it. Returns False if there was none. Raises OSError."""
        if not self._has_checkpoint:
            return False
        self._has_checkpoint = False
        self._filesystem.remove(self._checkpoint_path)
        return True

    def expect_checkpoint(self, size: int) -> None:
        """Hold room for checkpoints after one of this size."""
        wanted = max(self._segment_size // CHECKPOINT_DIVISOR, CHECKPOINT_GROWTH * size)
        if wanted > self._checkpoint_size:
            self._has_checkpoint = False
        self._checkpoint_size = wanted
