"""The processes of the load generator. They stay, so that no run waits for one to start."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

ANSWER_TIMEOUT_S = 60.0
END_TIMEOUT_S = 5.0


class GeneratorError(Exception):
    """The load generator could not do what it should."""


@dataclass(frozen=True, slots=True)
class _Failure:
    text: str


def _serve(pipe: Connection[Any, Any]) -> None:
    # Whoever started this process ends it: an interrupt of the terminal goes to all of them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The pipe breaks when that one has ended.
    with suppress(EOFError, BrokenPipeError):
        while True:
            task, arguments = pipe.recv()
            try:
                outcome = task(pipe, *arguments)
            except (OSError, GeneratorError) as error:
                outcome = _Failure(f"{task.__name__}: {error}")
            pipe.send(outcome)


class Worker:
    """A process that does one task after another. A task gets a pipe first, on which both sides may talk."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def start(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Start a task, which is a function of a module."""
        self.send((task, arguments))

    def send(self, message: Any) -> None:
        """Say something to the task."""
        self._pipe.send(message)

    def receive(self, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """Return what the task says, or what it returns at its end. Raises ``GeneratorError`` where it failed."""
        if not self._pipe.poll(timeout_s):
            raise GeneratorError(f"the load generator did not answer within {timeout_s:g} s")
        try:
            message = self._pipe.recv()
        except EOFError:
            raise GeneratorError("a process of the load generator has ended") from None
        if isinstance(message, _Failure):
            raise GeneratorError(message.text)
        return message

    def end(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(END_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class Workers:
    """As many processes as are needed at once."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def __getitem__(self, number: int) -> Worker:
        while number >= len(self._workers):
            self._workers.append(Worker())
        return self._workers[number]
