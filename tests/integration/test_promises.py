"""Every combination of queue, delivery mode and way of publishing that docs/durability.md makes a promise for."""

import itertools

import pytest
from pamqp.commands import Basic, Confirm, Queue, Tx

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawChannel

QUEUES = {"durable": {"durable": True}, "transient": {}, "exclusive": {"durable": True, "exclusive": True}}
MODES = {"2": Basic.Properties(delivery_mode=2), "1": Basic.Properties(delivery_mode=1), "none": Basic.Properties()}
WAYS = ["confirmed", "committed", "not confirmed", "not committed"]


def name_of(queue: str, mode: str, way: str) -> str:
    return f"{queue}, mode {mode}, {way}"


def publish_all(broker: BrokerProcess) -> None:
    """Publish a message in each way to a queue of its own, and have the answers of those that wait for one."""
    client = broker.connect().open()
    for number, way in enumerate(WAYS, 1):
        channel: RawChannel = client.channel(number)
        names = []
        for (queue, flags), mode in itertools.product(QUEUES.items(), MODES):
            names.append((name_of(queue, mode, way), MODES[mode]))
            channel.declare_queue(names[-1][0], **flags)
        if way == "confirmed":
            channel.call(Confirm.Select())
        elif way.endswith("committed"):
            channel.call(Tx.Select())
        for name, properties in names:
            channel.publish(name.encode(), name, properties=properties)
        if way == "committed":
            channel.call(Tx.Commit())
        elif way == "confirmed":
            last = 0
            while last < len(names):
                last = channel.expect(Basic.Ack).delivery_tag
        # The broker has read everything when it answers this.
        channel.call(Basic.Qos(prefetch_count=1))


@pytest.mark.parametrize("how", ["killed", "terminated"])
def test_what_is_there_afterwards_is_what_was_promised(start_broker: StartBroker, how: str) -> None:
    broker = start_broker()
    publish_all(broker)
    if how == "killed":
        broker.kill()
    else:
        assert broker.terminate() == 0
    broker.start()
    channel = broker.connect().open().channel(1)
    for queue, mode, way in itertools.product(QUEUES, MODES, WAYS):
        name = name_of(queue, mode, way)
        if queue != "durable":
            channel = channel.refused(
                Queue.Declare(queue=name, passive=True), 404, f"NOT_FOUND - no queue '{name}' in vhost '/'"
            )
            continue
        message = channel.get(name)
        if mode != "2" or way == "not committed":
            assert message is None, name
        elif how == "terminated" or way != "not confirmed":
            assert message is not None, name
        if message is not None:
            assert (message.body, message.method.redelivered) == (name.encode(), how == "killed")
            assert channel.get(name) is None, f"twice: {name}"
