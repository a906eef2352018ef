"""A machine without threads: who goes on, for how long, and what the time is are decided by chance."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from storage.disk import Disk
from storage.machine import Machine, Task
from storage.stepped_committer import SteppedCommitter
from storage.stepped_fetcher import SteppedFetcher
from tests.simulation.disk import CommitDisk, SimulatedDisk

BEGINNING_MS = 1_700_000_000_000
NESTING_MAX = 3
STALL_MS_MAX = 60_000


class Stuck(Exception):  # noqa: N818 - who raises it has done nothing wrong
    """Somebody waits for what will never be."""


@dataclass(eq=False)
class SimulatedWorker:
    """A worker whose tasks are done when the machine says so."""

    machine: "SimulatedMachine"
    name: str
    tasks: deque[Task] = field(default_factory=deque)

    @property
    def can_step(self) -> bool:
        return bool(self.tasks)

    def step(self) -> None:
        self.tasks.popleft()()

    def put(self, task: Task) -> None:
        self.tasks.append(task)

    def stop(self) -> None:
        while self.tasks and not self.machine.crashed:
            self.step()
        self.machine.actors.remove(self)


Actor = SimulatedWorker | SteppedCommitter | SteppedFetcher


@dataclass
class Pace:
    """How the machine's parts keep up with each other.

    ``nested`` is how likely another part goes on amid an operation of the disk, ``stalled`` how likely a commit does
    not even begin for a while.
    """

    nested: float = 0.0
    stalled: float = 0.0

    @classmethod
    def of(cls, chance: random.Random) -> "Pace":
        return cls(chance.choice([0.0, 0.05, 0.3]), chance.choice([0.0, 0.0, 0.1]))


class SimulatedMachine(Machine):
    """One life of a process on a disk."""

    def __init__(self, disk: SimulatedDisk, chance: random.Random, note: Callable[[str], None], time_ms: int) -> None:
        super().__init__(disk, CommitDisk(disk))
        self.simulated_disk = disk
        self.chance = chance
        self.note = note
        self.pace = Pace.of(chance)
        self.now_ms = time_ms
        self.actors: list[Actor] = []
        self.crashed = False
        self.broken: Exception | None = None
        self._running: list[object] = []
        self._stalled_until_ms: dict[Actor, int] = {}
        disk.meanwhile = self._on_operation

    # What a journal asks

    def worker(self, name: str) -> SimulatedWorker:
        worker = SimulatedWorker(self, name)
        self.actors.append(worker)
        return worker

    def committer(self, disk: Disk, completion: int, durable: int) -> SteppedCommitter:
        committer = SteppedCommitter(disk, completion, durable)
        committer.machine = self
        self.actors.append(committer)
        return committer

    def fetcher(self, disk: Disk, directory: Path, completion: int) -> SteppedFetcher:
        fetcher = SteppedFetcher(disk, directory, completion)
        self.actors.append(fetcher)
        return fetcher

    def time_us(self) -> int:
        return self.now_ms * 1000

    def pause(self, duration_s: float) -> None:
        """Take no time: when a worker goes on is decided by chance anyway."""

    def monotonic_ns(self) -> int:
        return self.now_ms * 1_000_000

    def random_bytes(self, size: int) -> bytes:
        return self.chance.randbytes(size)

    def finish_commit(self, committer: SteppedCommitter) -> None:
        """Go on until the committer has written its batch, as a thread that waits for it would find it."""
        self.pace.stalled = 0.0
        self._stalled_until_ms.clear()
        while committer.waits and self.broken is None:
            if not self.step():
                self.broken = Stuck("a batch waits for a file that nobody prepares")

    # What the simulation asks

    def can_step(self) -> list[Actor]:
        """Who has something to do, is not at it already, and does not stall."""
        return [
            actor
            for actor in self.actors
            if actor not in self._running and actor.can_step and self._stalled_until_ms.get(actor, 0) <= self.now_ms
        ]

    def step(self) -> bool:
        """Let somebody do one thing. Returns whether there was anything to do."""
        actors = self.can_step()
        if not actors:
            return False
        actor = self.chance.choice(actors)
        if isinstance(actor, SteppedCommitter) and actor not in self._stalled_until_ms:
            self._stalled_until_ms[actor] = 0
            if self.chance.random() < self.pace.stalled:
                self._stalled_until_ms[actor] = self.now_ms + self.chance.randrange(STALL_MS_MAX)
                return True
        self._stalled_until_ms.pop(actor, None)
        self._running.append(actor)
        try:
            self.note(f"> {actor.name if isinstance(actor, SimulatedWorker) else type(actor).__name__}")
            actor.step()
        finally:
            self._running.remove(actor)
        return True

    def wait_out_stalls(self) -> bool:
        """Let time pass until somebody stalls no more. Returns whether anybody did."""
        later = [at for actor, at in self._stalled_until_ms.items() if at > self.now_ms and actor.can_step]
        if later:
            self.now_ms = min(later)
        return bool(later)

    def crash(self) -> None:
        """Let nobody do anything more."""
        self.crashed = True
        self.simulated_disk.switch_off()

    def check(self) -> None:
        """Raise what was raised where it could not be seen."""
        if self.broken is not None:
            raise self.broken

    def _on_operation(self, operation: str) -> None:
        self.note(operation)
        if len(self._running) in range(1, NESTING_MAX) and self.chance.random() < self.pace.nested:
            try:
                self.step()
            except Exception as error:  # noqa: BLE001 - a committer can raise nothing, so it is kept for later
                self.broken = self.broken or error
