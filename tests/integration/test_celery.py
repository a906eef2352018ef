"""A Celery worker in a process of its own, with results over rpc:// and tasks of the future."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import kombu
import pytest
from celery import Celery
from celery.result import AsyncResult

from tests.support.raw_client import Address

pytestmark = pytest.mark.xdist_group("celery")

CONCURRENCY = 2
FUTURE_S = 8
PATIENCE_S = 30


@pytest.fixture(scope="module")
def environment(address: Address) -> dict[str, str]:
    return {
        "CELERY_TEST_BROKER": f"amqp://guest:guest@{address[0]}:{address[1]}//",
        "CELERY_TEST_QUEUE": f"celery-{uuid.uuid4().hex[:12]}",
    }


@pytest.fixture(scope="module")
def worker(environment: dict[str, str]) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", "tests.support.celery_app", "worker", "--pool", "threads"]
    options = [
        "--loglevel",
        "INFO",
        "--concurrency",
        str(CONCURRENCY),
        "--hostname",
        f"{environment['CELERY_TEST_QUEUE']}@localhost",
    ]
    with subprocess.Popen(
        command + options, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if " ready." in line:
                break
        else:
            raise AssertionError("the worker ended:\n" + "".join(seen))
        yield
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def app(environment: dict[str, str], worker: None) -> Iterator[Celery]:
    app = Celery("client", broker=environment["CELERY_TEST_BROKER"], backend="rpc://", set_as_current=False)
    app.conf.task_default_queue = environment["CELERY_TEST_QUEUE"]
    yield app
    app.backend.result_consumer.stop()
    app.close()


def send(app: Celery, task: str, *arguments: int, **options: float) -> AsyncResult:
    return app.send_task(f"tests.support.celery_app.{task}", arguments, **options)


def test_global_prefetch_counts_have_rabbitmqs_meaning(address: Address) -> None:
    """Celery changes the prefetch count of a running consumer; only a count of the whole channel can be changed."""
    with kombu.Connection(f"amqp://guest:guest@{address[0]}:{address[1]}//") as connection:
        connection.ensure_connection(max_retries=1)
        assert connection.qos_semantics_matches_spec is False


def test_results_come_back(app: Celery) -> None:
    results = [send(app, "add", number, number) for number in range(50)]
    assert [result.get(timeout=PATIENCE_S) for result in results] == [2 * number for number in range(50)]


def test_a_task_that_is_retried(app: Celery) -> None:
    assert send(app, "fail_twice").get(timeout=PATIENCE_S) == 2


def test_tasks_of_the_future_do_not_hold_up_those_of_now(app: Celery) -> None:
    future = [send(app, "now", countdown=FUTURE_S) for _ in range(4 * CONCURRENCY)]
    due = time.time() + FUTURE_S
    ran = send(app, "now").get(timeout=PATIENCE_S)
    assert ran < due
    assert all(result.get(timeout=PATIENCE_S) > ran for result in future)


def test_the_worker_answers_its_control(app: Celery, environment: dict[str, str]) -> None:
    name = f"{environment['CELERY_TEST_QUEUE']}@localhost"
    assert app.control.ping(destination=[name], timeout=PATIENCE_S, limit=1) == [{name: {"ok": "pong"}}]
