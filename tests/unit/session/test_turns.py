"""How often the event loop has to go round for what is sent."""

import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm

from broker.durability.queue_log import VirtualHostJournal
from tests.support.in_process import InProcessBroker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[InProcessBroker]:
    broker = InProcessBroker(tmp_path)
    yield broker
    broker.stop()


def test_a_confirm_needs_no_turn_but_that_in_which_it_is_sent(broker: InProcessBroker) -> None:
    client = broker.connect()
    channel = client.channel()
    queue = channel.declare_queue(durable=True)
    channel.call(Confirm.Select())
    broker.settle()
    channel.publish(b"body", queue, properties=Basic.Properties(delivery_mode=2))
    broker.turns()
    journal = broker.vhost.journal.journal
    assert select.select([journal.completion_fd], [], [], 10)[0]
    journal.on_commit_finished()
    assert len(broker.loop.ready) == 1
    broker.pass_turn()
    assert not broker.loop.ready
    assert channel.expect(Basic.Ack).delivery_tag == 1


def test_a_commit_is_asked_for_once(broker: InProcessBroker) -> None:
    asked: list[int] = []
    journal = VirtualHostJournal(broker.vhost.journal.journal, lambda: asked.append(1))
    for _ in range(3):
        journal.define(b"")
    assert len(asked) == 1
    journal.commit_wanted = False
    journal.define(b"")
    assert len(asked) == 2


def test_each_turn_that_writes_commits(broker: InProcessBroker) -> None:
    client = broker.connect()
    channel = client.channel()
    queue = channel.declare_queue(durable=True)
    channel.call(Confirm.Select())
    for number in range(1, 4):
        channel.publish(b"body", queue, properties=Basic.Properties(delivery_mode=2))
        assert channel.expect(Basic.Ack).delivery_tag == number
