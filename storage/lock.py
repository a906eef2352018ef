"""The lock of a data directory, so that two brokers never share one."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.errors import DirectoryLocked

LOCK_NAME = "lock"
_CONTENT_SIZE_MAX = 32


class DirectoryLock:
    """Held from its making until ``release`` or the end of the process, however that ends.

    ``directory`` must exist. Raises DirectoryLocked, which names the process that holds the lock.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            content = os.pread(self._descriptor, _CONTENT_SIZE_MAX, 0).strip()
            os.close(self._descriptor)
            raise DirectoryLocked(directory, int(content) if content.isdigit() else None) from None
        except OSError:
            os.close(self._descriptor)
            raise
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have the directory. The file stays: without it two processes could lock two files."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
