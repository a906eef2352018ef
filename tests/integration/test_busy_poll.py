"""A broker whose clients answer at once does not sleep in between; one that is left alone does."""

from pathlib import Path

import pytest

from broker.processors import available_processors
from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.waiting import until

REQUESTS = 500


def times_slept(broker: BrokerProcess) -> int:
    """How often the event loop's thread has gone to sleep."""
    for line in Path(f"/proc/{broker.pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "voluntary_ctxt_switches":
            return int(value)
    raise AssertionError("there is no such line")


def is_asleep(broker: BrokerProcess) -> bool:
    return Path(f"/proc/{broker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def slept_per_request(start_broker: StartBroker, busy_poll_us: int) -> float:
    broker = start_broker(settings={"busy-poll-us": str(busy_poll_us)})
    channel = broker.connect().open().channel()
    queue = channel.declare_queue(exclusive=True)
    before = times_slept(broker)
    for _ in range(REQUESTS):
        channel.counts(queue)
    slept = times_slept(broker) - before
    until(lambda: is_asleep(broker))
    return slept / REQUESTS


@pytest.mark.skipif(available_processors() < 2, reason="needs a processor for the broker and one for its client")
def test_it_does_not_sleep_where_the_next_request_comes_at_once(start_broker: StartBroker) -> None:
    assert slept_per_request(start_broker, 1000) < slept_per_request(start_broker, 0) / 2
