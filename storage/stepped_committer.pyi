from typing import Any, final

from storage.committer import Committer

@final
class SteppedCommitter(Committer):
    machine: Any
    @property
    def can_step(self) -> bool:
        """Whether there is a batch to be written, and all files that it goes to are prepared."""
    @property
    def waits(self) -> bool:
        """Whether there is a batch that has not been written yet."""
    def step(self) -> None: ...
