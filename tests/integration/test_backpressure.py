"""A peer that does not read costs the broker a bounded amount of memory, and others nothing."""

import contextlib
from pathlib import Path

import pytest
from pamqp.commands import Queue

from tests.conftest import StartBroker
from tests.support.raw_client import RawClient, frame, method_payload

SENT_SIZE_MAX_BYTES = 64 * 1024 * 1024
MEMORY_MAX_BYTES = 200 * 1024 * 1024


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.haypile_only
def test_requests_are_not_read_while_their_answers_are_not(start_broker: StartBroker) -> None:
    broker = start_broker()
    with RawClient(broker.address) as client:
        client.open()
        channel = client.channel(1)
        name = channel.declare_queue()
        request = frame(1, 1, method_payload(Queue.Declare(queue=name, passive=True)))
        block = request * 1000
        client.socket.settimeout(1.0)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < SENT_SIZE_MAX_BYTES:
                sent += client.socket.send(block)
        assert sent < SENT_SIZE_MAX_BYTES
        assert resident_bytes(broker.pid) < MEMORY_MAX_BYTES
        with RawClient(broker.address) as other:
            other.open()
            other.channel(1).declare_queue()
        # What was asked is answered, once the answers are read.
        client.socket.settimeout(20.0)
        for _ in range(sent // len(request)):
            client.expect(Queue.DeclareOk, 1)


@pytest.mark.haypile_only
def test_a_consumer_that_does_not_read_costs_nobody_else(start_broker: StartBroker) -> None:
    broker = start_broker()
    with RawClient(broker.address) as slow, RawClient(broker.address) as fast:
        for client in (slow, fast):
            client.open()
        slow_channel, fast_channel = slow.channel(1), fast.channel(1)
        queue = fast_channel.declare_queue()
        slow_channel.consume(queue, no_ack=True)
        body = b"x" * 100_000
        count = 200
        for _ in range(count):
            fast_channel.publish(body, routing_key=queue)
        # The channel answers, so all publishes were taken in; what the slow consumer has not taken is still ready.
        ready, _ = fast_channel.counts(queue)
        assert ready > 0
        other = fast_channel.declare_queue()
        fast_channel.publish(b"quick", routing_key=other)
        message = fast_channel.get(other)
        assert message is not None
        assert message.body == b"quick"
        slow_channel.deliver_many(count)
