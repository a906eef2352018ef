"""Acknowledgements reach the disk no later than what was published after them."""

import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm

from tests.support.in_process import InProcessBroker

PERSISTENT = b"\x10\x00\x02"
PATIENCE_S = 10.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[InProcessBroker]:
    broker = InProcessBroker(tmp_path)
    yield broker
    broker.stop()


def commit_ended(broker: InProcessBroker) -> None:
    """Have the loop take note of the commit under way, and of nothing else."""
    descriptor = broker.vhost.journal.journal.completion_fd
    before = broker.vhost.durable_batch
    while broker.vhost.durable_batch == before:
        assert select.select([descriptor], [], [], PATIENCE_S)[0]
        broker.loop.readers[descriptor]()


def test_a_commit_that_ends_amid_a_turn_takes_the_acknowledgements_along(broker: InProcessBroker) -> None:
    client = broker.connect()
    channel, other = client.channel(1), client.channel(2)
    other.call(Confirm.Select())
    for queue in ("q", "marker"):
        channel.declare_queue(queue, durable=True)
    other.publish(b"to be acknowledged", "q", properties=PERSISTENT)
    other.expect(Basic.Ack)
    channel.consume("q")
    delivery = channel.deliver()
    other.publish(b"before", "marker", properties=PERSISTENT)
    broker.turns()
    # In one turn, and before its end the commit of what came before has ended.
    channel.send(Basic.Ack(delivery_tag=delivery.method.delivery_tag))
    other.publish(b"after", "marker", properties=PERSISTENT)
    commit_ended(broker)
    commit_ended(broker)
    broker.crash()
    broker.start()
    assert broker.vhost.queues["marker"].ready_count() == 2
    assert broker.vhost.queues["q"].ready_count() == 0
