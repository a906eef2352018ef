"""A peer that does not read costs the broker a bounded amount of memory, and others nothing."""

import contextlib
import random
import socket
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


def test_bodies_that_a_slow_peer_takes_in_pieces_arrive_whole(start_broker: StartBroker) -> None:
    """Large ones are sent from where they are, among copies of small ones, and what is left goes by another way."""
    broker = start_broker()
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    sizes = [chance.choice((10, 1000, 16_383, 16_384, 40_000, 131_064, 131_065, 400_000, 900_000)) for _ in range(60)]
    bodies = [chance.randbytes(size) for size in sizes]
    with RawClient(broker.address) as slow, RawClient(broker.address) as fast:
        for client in (slow, fast):
            client.open()
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        slow_channel, fast_channel = slow.channel(1), fast.channel(1)
        queue = fast_channel.declare_queue()
        slow_channel.consume(queue, no_ack=True)
        for body in bodies:
            fast_channel.publish(body, routing_key=queue)
        # Nothing is read before all is published, so the socket of the slow one is full.
        fast_channel.counts(queue)
        assert slow_channel.deliver_many(len(bodies)) == bodies
