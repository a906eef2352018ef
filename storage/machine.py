"""What a journal takes from the machine it runs on: files, threads, the time of day and chance."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from storage.committer import Committer
from storage.disk import Disk
from storage.fetcher import Fetcher
from storage.filesystem import Filesystem, LocalFilesystem

Task = Callable[[], None]


class Worker(Protocol):
    """Does tasks one after the other, beside the event loop."""

    def put(self, task: Task) -> None:
        """Have a task done after those before it."""

    def stop(self) -> None:
        """Return when everything that was asked for is done; nothing is done after that."""


class Machine:
    """The real machine. A simulated one has another of each, and says itself when which worker goes on."""

    def __init__(self, filesystem: Filesystem | None = None, disk: Disk | None = None) -> None:
        self.filesystem = filesystem or LocalFilesystem()
        self.disk = disk or Disk()

    def worker(self, name: str) -> Worker:
        """Return a new worker."""
        return ThreadWorker(name)

    def committer(self, disk: Disk, completion: int, durable: int) -> Committer:
        """Return what commits batches; see ``Committer``."""
        return Committer(disk, completion, durable)

    def fetcher(self, disk: Disk, directory: Path, completion: int) -> Fetcher:
        """Return what reads records back; see ``Fetcher``."""
        return Fetcher(disk, directory, completion)

    def time_us(self) -> int:
        """Return the time of day in microseconds since 1970."""
        return time.time_ns() // 1000

    def pause(self, duration_s: float) -> None:
        """Let a worker wait, so that it does not take all of the disk."""
        time.sleep(duration_s)

    def random_bytes(self, size: int) -> bytes:
        """Return bytes that nobody can guess."""
        return os.urandom(size)


class ThreadWorker:
    """A worker that is a thread."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, task: Task) -> None:
        """Have a task done after those before it."""
        self._tasks.put(task)

    def stop(self) -> None:
        """Return when everything that was asked for is done; nothing is done after that."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
