"""A small Celery application; where its broker is comes from the environment."""

import os
import time

from celery import Celery

app = Celery("tests", broker=os.environ["CELERY_TEST_BROKER"], backend="rpc://")
app.conf.task_default_queue = os.environ["CELERY_TEST_QUEUE"]
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1
app.conf.result_expires = 60


@app.task
def add(first: int, second: int) -> int:
    """Return the sum."""
    return first + second


@app.task(acks_late=True)
def now() -> float:
    """Return the time at which this ran."""
    return time.time()


@app.task(bind=True, max_retries=3)
def fail_twice(self) -> int:  # type: ignore[no-untyped-def]
    """Raise at the first two attempts, and return the number of retries at the third."""
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    retries: int = self.request.retries
    return retries
