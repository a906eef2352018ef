"""What goes wrong in the middle of something is told of, and costs nobody else anything."""

import os
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Basic, Confirm, Exchange, Tx

from broker.metrics.counters import Counters
from broker.session.outlet import Outlet
from broker.turn import Turn
from tests.support.in_process import InProcessBroker
from tests.support.raw_client import RawChannel

PERSISTENT = Basic.Properties(delivery_mode=2)
RANGES_MAX = 4096
"""As many separate positions fit into one record of what is settled."""


class MistakeError(Exception):
    """What the broken ones raise."""


class Waiting:
    """Somebody who waits for the journal, or owes confirms; a broken one raises."""

    def __init__(self, done: list[str], name: str) -> None:
        self.done, self.name = done, name

    def journal_durable(self, batch: int) -> bool:
        self.done.append(self.name)
        if self.name == "broken":
            raise MistakeError
        return False

    def write_confirms(self) -> None:
        self.journal_durable(0)


def mistake(*_: Any) -> Any:
    raise MistakeError


def settle_with_mistake(broker: InProcessBroker) -> None:
    with pytest.raises(MistakeError):
        broker.settle()


def break_disk(broker: InProcessBroker) -> None:
    """Have the journal's next commit fail."""
    # Nothing can be written to it.
    broken = os.open("/dev/null", os.O_RDONLY)
    for descriptor in Path("/proc/self/fd").iterdir():
        if descriptor.exists() and descriptor.readlink().parent == broker.directory:
            os.dup2(broken, int(descriptor.name))
    os.close(broken)


def test_who_waits_for_the_journal_behind_a_broken_one_hears_of_it_too(
    broker: InProcessBroker, channel: RawChannel
) -> None:
    done: list[str] = []
    for name in ("a", "broken", "b"):
        broker.vhost.wait_for_journal(Waiting(done, name))
    channel.send(Exchange.Declare(exchange="x", durable=True, nowait=True))
    settle_with_mistake(broker)
    broker.settle()
    assert done == ["a", "broken", "b"]


@pytest.mark.parametrize("names", [["a", "broken", "b"], ["a", "broken"]])
def test_confirms_behind_a_broken_channel_go_out(broker: InProcessBroker, names: list[str]) -> None:
    done: list[str] = []
    ready: list[Any] = []
    outlet = Outlet(Turn(ready.append), Counters(), 4096)
    for name in names:
        outlet.owes_confirms(Waiting(done, name))
    with pytest.raises(MistakeError):
        ready.pop()()
    assert len(ready) == 1, "the outlet has to have another turn, if only to send what is written already"
    ready.pop()()
    assert done == names


@pytest.mark.parametrize("transacted", [False, True])
def test_a_unit_ends_whatever_happens_in_it(
    broker: InProcessBroker, channel: RawChannel, monkeypatch: pytest.MonkeyPatch, transacted: bool
) -> None:
    """Otherwise nothing that anybody does later would ever be on disk."""
    channel.declare_queue("q", durable=True, arguments={"x-deduplication": True})
    other = broker.connect().channel(1)
    other.call(Confirm.Select())
    if transacted:
        channel.call(Tx.Select())
    with monkeypatch.context() as patch:
        patch.setattr(broker.vhost.queues["q"].deduplicator, "remember", mistake)
        channel.publish(b"1", "q", properties=PERSISTENT)
        if transacted:
            channel.send(Tx.Commit())
    broker.settle()
    assert broker.vhost.journal.unit_depth == 0
    other.publish(b"2", "q", properties=PERSISTENT)
    other.expect(Basic.Ack)


def test_a_dead_letter_whose_way_fails_costs_the_others_nothing(
    broker: InProcessBroker, channel: RawChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel.declare_queue("dead", durable=True)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-max-length": 0}
    channel.declare_queue("q", durable=True, arguments=arguments)
    for number in range(3):
        channel.publish(b"%d" % number, "q", properties=PERSISTENT)
    find_queues = broker.vhost.find_queues
    failing = iter([True])
    monkeypatch.setattr(
        broker.vhost, "find_queues", lambda *way: mistake() if next(failing, False) else find_queues(*way)
    )
    settle_with_mistake(broker)
    broker.settle()
    assert len(broker.vhost.transfers) == 0
    broker.crash()
    broker.start()
    channel = broker.connect().channel(1)
    # The one that failed is in its queue again, which is too full for it, and this time its way does not fail.
    channel.publish(b"3", "q", properties=PERSISTENT)
    broker.settle()
    assert channel.bodies("dead") == [b"1", b"2", b"0", b"3"]
    assert channel.bodies("q") == []


def test_a_queue_can_be_emptied_when_the_journal_has_failed(broker: InProcessBroker, channel: RawChannel) -> None:
    channel.declare_queue("q", durable=True)
    for _ in range(2 * RANGES_MAX + 2):
        channel.publish(b"", "q", properties=PERSISTENT)
    channel.consume("q")
    tags = [channel.deliver().method.delivery_tag for _ in range(2 * RANGES_MAX + 2)]
    break_disk(broker)
    channel.client.send(Exchange.Declare(exchange="x", durable=True, nowait=True), 1)
    broker.settle()
    assert len(broker.errors) == 1
    for tag in tags[::2]:
        channel.send(Basic.Ack(delivery_tag=tag))
    assert channel.client.connection.channels[1].unacked.count == RANGES_MAX + 1  # type: ignore[attr-defined]
    broker.errors.clear()


def test_keys_are_forgotten_in_their_order_after_a_restart(broker: InProcessBroker, channel: RawChannel) -> None:
    channel.declare_queue("q", durable=True, arguments={"x-deduplication": True, "x-deduplication-count": 2})

    def publish(key: str) -> int:
        channel.publish(b"", "q", properties=Basic.Properties(message_id=key, delivery_mode=2))
        return len(channel.bodies("q"))

    assert [publish(key) for key in ("a", "b", "c", "a")] == [1, 1, 1, 1]
    broker.settle()
    broker.crash()
    broker.start()
    channel = broker.connect().channel(1)
    assert [publish(key) for key in ("d", "a", "c")] == [1, 0, 1]
