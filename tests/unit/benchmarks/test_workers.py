"""The processes of the load generator."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.workers import GeneratorError, Worker, Workers

# So that one process is started for them all.
pytestmark = pytest.mark.xdist_group("benchmark-workers")


def add(pipe: Any, first: int) -> int:
    """A task that talks, and returns something."""
    pipe.send("ready")
    return first + int(pipe.recv())


def fail(pipe: Any) -> None:
    """A task that meets what can happen on a connection."""
    raise ConnectionError("the broker closed the connection")


def vanish(pipe: Any) -> None:
    """A task that ends its process."""
    os._exit(1)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """A process that tests share."""
    with Workers() as workers:
        yield workers[0]


def test_one_task_after_another(worker: Worker) -> None:
    for number in (1, 2):
        worker.start(add, number)
        assert worker.receive() == "ready"
        worker.send(40)
        assert worker.receive() == 40 + number


def test_a_task_that_fails_says_why_and_the_next_is_done(worker: Worker) -> None:
    worker.start(fail)
    with pytest.raises(GeneratorError, match="fail: the broker closed the connection"):
        worker.receive()
    worker.start(add, 1)
    worker.send(2)
    assert [worker.receive(), worker.receive()] == ["ready", 3]


def test_an_answer_that_does_not_come(worker: Worker) -> None:
    worker.start(add, 1)
    assert worker.receive() == "ready"
    with pytest.raises(GeneratorError, match=r"did not answer within 0\.01 s"):
        worker.receive(0.01)
    worker.send(2)
    assert worker.receive() == 3


def test_a_process_that_ends() -> None:
    with Workers() as workers:
        worker = workers[0]
        worker.start(vanish)
        with pytest.raises(GeneratorError, match="has ended"):
            worker.receive()
