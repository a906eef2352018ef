"""Bodies that are larger than a read come out as they went in."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp import constants
from pamqp.commands import Basic, Channel, Connection

from tests.support.raw_client import RawChannel, content, frame, header_payload, method_payload
from tests.unit.session.test_sockets import SocketBroker, SocketClient, channel_of, read

FRAME_PAYLOAD_MAX = 131072 - 8
SIZES = [0, 1, 4_096, 16_384, 16_385, 100_000, FRAME_PAYLOAD_MAX - 1, FRAME_PAYLOAD_MAX, FRAME_PAYLOAD_MAX + 1]
SIZES += [2 * FRAME_PAYLOAD_MAX, 300_000, 1 << 20, (1 << 20) + 1]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SocketBroker]:
    broker = SocketBroker(tmp_path)
    yield broker
    broker.stop()
    broker.sockets.close()


@pytest.fixture
def client(broker: SocketBroker) -> Iterator[SocketClient]:
    client = SocketClient(broker)
    yield client
    client.cut()
    broker.settle()


def send(client: SocketClient, octets: bytes) -> None:
    client.socket.sendall(octets)
    while read(client.broker):
        client.broker.turns()


def bodies_in(broker: SocketBroker, queue: str) -> list[bytes]:
    """Get them over a connection without a socket, which takes what no socket would at once."""
    return broker.connect().channel().bodies(queue)


def published(channel: int, queue: str, body: bytes) -> bytes:
    return frame(constants.FRAME_METHOD, channel, method_payload(Basic.Publish(routing_key=queue))) + content(
        channel, body
    )


def begun(queue: str, body_size: int, frame_size: int) -> bytes:
    """A publish up to the first octet of its body."""
    octets = frame(constants.FRAME_METHOD, 1, method_payload(Basic.Publish(routing_key=queue)))
    octets += frame(constants.FRAME_HEADER, 1, header_payload(body_size))
    return octets + frame(constants.FRAME_BODY, 1, bytes(frame_size))[:7]


@pytest.mark.parametrize("seed", range(20))
def test_bodies_come_out_as_they_went_in(client: SocketClient, seed: int) -> None:
    chance = random.Random(seed)
    queue = channel_of(client).declare_queue()
    client.channel(2)
    bodies = [chance.randbytes(chance.choice(SIZES)) for _ in range(8)]
    octets = b"".join(published(chance.choice((1, 2)), queue, body) for body in bodies)
    received = client.broker.counters.bytes_received
    at = 0
    while at < len(octets):
        size = chance.choice((1, 7, 8, 1_000, 20_000, 150_000))
        send(client, octets[at : at + size])
        at += size
    assert client.broker.counters.bytes_received - received == len(octets)
    assert bodies_in(client.broker, queue) == bodies


def test_a_frame_that_does_not_end_is_noticed(client: SocketClient) -> None:
    channel = channel_of(client)
    queue = channel.declare_queue()
    send(client, begun(queue, 100_000, 100_000))
    send(client, bytes(100_000))
    send(client, b"\x00")
    closed = client.expect(Connection.Close)
    assert (closed.reply_code, "{invalid_frame_end_marker,0}" in closed.reply_text) == (501, True)


def test_a_frame_that_is_larger_than_what_is_left_of_a_body_is_noticed(client: SocketClient) -> None:
    channel = channel_of(client)
    queue = channel.declare_queue()
    send(client, begun(queue, 50_000, 100_000))
    send(client, bytes(100_000) + bytes((constants.FRAME_END,)))
    closed = client.expect(Connection.Close)
    assert closed.reply_code == 501
    assert closed.reply_text == "FRAME_ERROR - content body frame exceeds remaining content size"


def test_a_body_for_a_channel_that_was_closed_goes_nowhere(client: SocketClient) -> None:
    channel = channel_of(client)
    other: RawChannel = client.channel(2)
    queue = other.declare_queue()
    too_large = client.connection.channels[1].max_message_size_bytes + 1
    send(client, begun(queue, too_large, 100_000))
    send(client, bytes(100_000) + bytes((constants.FRAME_END,)))
    assert channel.expect(Channel.Close).reply_code == 406
    assert other.bodies(queue) == []


def test_a_client_may_go_in_the_middle_of_a_body(client: SocketClient) -> None:
    channel = channel_of(client)
    send(client, begun(channel.declare_queue(), 100_000, 100_000))
    send(client, bytes(50_000))
    client.socket.close()
    assert read(client.broker)
    assert client.transport.closed
