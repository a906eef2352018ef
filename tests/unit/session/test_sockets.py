"""Reading from real sockets: what is read when, what is left alone, and how a connection ends."""

import os
import random
import select
import socket
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pamqp import constants
from pamqp.commands import Basic, Channel
from pamqp.commands import Connection as ConnectionClass

from broker.session import connection as connection_module
from broker.session.connection import Connection
from broker.session.sockets import Sockets
from broker.turn import Turn
from tests.support.in_process import InProcessBroker, Transport
from tests.support.raw_client import (
    PROTOCOL_HEADER,
    RawChannel,
    RawClient,
    content,
    frame,
    header_payload,
    method_payload,
)

EVENTS_MAX = 256
"""How many sockets are read from in one call."""

FRAME_PAYLOAD_MAX = 131072 - 8
SIZES = [0, 1, 4_096, 16_384, 16_385, 100_000, FRAME_PAYLOAD_MAX - 1, FRAME_PAYLOAD_MAX, FRAME_PAYLOAD_MAX + 1]
SIZES += [2 * FRAME_PAYLOAD_MAX, 300_000, 1 << 20, (1 << 20) + 1]


class SocketBroker(InProcessBroker):
    """A broker that reads from sockets."""

    sockets: Sockets

    def new_turn(self) -> Turn:
        self.sockets = Sockets(self.loop, self.read_buffer)  # type: ignore[arg-type]
        return Turn(self.sockets.call_soon)


class EventLoopTransport(Transport):
    """What the event loop has of a socket: it reads as long as it is not asked to stop."""

    def __init__(self, own: socket.socket) -> None:
        super().__init__()
        self.own = own
        self.is_reading = True
        self.aborted = False

    def get_extra_info(self, name: str) -> Any:
        return SimpleNamespace(fileno=self.own.fileno) if name == "socket" else None

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def abort(self) -> None:
        self.closed = self.aborted = True


class SocketClient(RawClient):
    """A raw client at the other end of a socket."""

    def __init__(self, broker: SocketBroker) -> None:
        self.broker = broker
        self.frame_max = 131072
        self.tune = None
        self._buffer = b""
        self._frames = deque()
        self.socket, own = socket.socketpair()
        for end in (self.socket, own):
            end.setblocking(False)
        self.transport = EventLoopTransport(own)
        self.connection = Connection(broker)
        self.connection.connection_made(self.transport)

    def read_first(self) -> None:
        """Read what comes first as the event loop does."""
        octets = self.transport.own.recv(1000)
        self.broker.read_buffer.view[: len(octets)] = octets
        self.connection.buffer_updated(len(octets))

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)
        if self.transport.is_reading:
            self.read_first()
        else:
            read(self.broker)

    def receive_bytes(self) -> bytes:
        try:
            return self.socket.recv(1 << 20)
        except BlockingIOError:
            self.broker.settle()
            return self.socket.recv(1 << 20)

    def cut(self) -> None:
        """Have the event loop say that the connection is lost, and close the sockets."""
        if self.connection.transport is not None:
            self.connection.connection_lost(None)
        self.transport.own.close()
        self.socket.close()


def is_readable(broker: SocketBroker) -> bool:
    """Return whether the event loop would call."""
    return bool(select.select([broker.sockets.fileno()], [], [], 0)[0])


def read(broker: SocketBroker) -> bool:
    """Do as the event loop, once. Returns whether there was anything to read."""
    if not is_readable(broker):
        return False
    broker.loop.readers[broker.sockets.fileno()]()
    return True


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SocketBroker]:
    broker = SocketBroker(tmp_path)
    yield broker
    broker.stop()
    broker.sockets.close()


@pytest.fixture
def clients(broker: SocketBroker) -> Iterator[list[SocketClient]]:
    clients: list[SocketClient] = []
    yield clients
    for client in clients:
        client.cut()
    broker.settle()


@pytest.fixture
def client(broker: SocketBroker, clients: list[SocketClient]) -> SocketClient:
    clients.append(SocketClient(broker))
    return clients[-1]


def channel_of(client: SocketClient) -> RawChannel:
    return client.open().channel()


def test_the_event_loop_reads_what_comes_first_and_nothing_more(client: SocketClient, broker: SocketBroker) -> None:
    assert client.transport.is_reading
    client.start()
    assert not client.transport.is_reading
    client.log_in()
    assert client.expect(ConnectionClass.Tune)


def test_a_turn_ends_as_soon_as_everything_was_read(client: SocketClient, broker: SocketBroker) -> None:
    channel = channel_of(client)
    queue = channel.declare_queue()
    channel.consume(queue, no_ack=True)
    broker.settle()
    channel.publish(b"alone", queue)
    assert not broker.loop.ready
    # Nobody had to let the event loop go on.
    assert b"alone" in client.socket.recv(1000)


def test_a_turn_ends_with_what_a_descriptor_was_watched_for(broker: SocketBroker) -> None:
    called: list[str] = []

    def call_back() -> None:
        called.append("readable")
        broker.sockets.call_soon(lambda: called.append("end of turn"))
        broker.sockets.call_soon(lambda: called.append("next round"))

    broker.sockets.watch(1000, call_back)
    broker.loop.readers[1000]()
    assert called == ["readable", "end of turn"]
    broker.turns()
    assert called == ["readable", "end of turn", "next round"]


def test_a_turn_ends_although_something_goes_wrong_in_it(broker: SocketBroker) -> None:
    called: list[str] = []

    def call_back() -> None:
        broker.sockets.call_soon(lambda: called.append("end of turn"))
        raise TypeError

    broker.sockets.watch(1000, call_back)
    with pytest.raises(TypeError):
        broker.loop.readers[1000]()
    assert called == ["end of turn"]


def test_several_that_publish_in_a_turn_cost_their_consumer_one_write(
    clients: list[SocketClient], broker: SocketBroker
) -> None:
    clients += [SocketClient(broker) for _ in range(3)]
    consumer, *publishers = [channel_of(client) for client in clients]
    queue = consumer.declare_queue()
    consumer.consume(queue, no_ack=True)
    broker.settle()
    for publisher in publishers:
        publish_later(publisher, queue)
    sent = broker.counters.bytes_sent
    assert read(broker)
    assert not read(broker)
    octets = clients[0].socket.recv(1000)
    assert octets.count(b"body") == 2
    assert broker.counters.bytes_sent - sent == len(octets)


def publish_later(channel: RawChannel, queue: str) -> None:
    """Publish without having the broker read that."""
    client: Any = channel.client
    sent: list[bytes] = []
    client.send_bytes, send_bytes = sent.append, client.send_bytes
    channel.publish(b"body", queue)
    client.send_bytes = send_bytes
    client.socket.sendall(b"".join(sent))


def test_who_is_not_to_be_read_from_is_left_alone(client: SocketClient, broker: SocketBroker) -> None:
    channel = channel_of(client)
    queue = channel.declare_queue()
    client.connection.hold()
    publish_later(channel, queue)
    # Once, to find that out.
    assert read(broker)
    assert not is_readable(broker)
    assert broker.counters.messages_received == 0
    client.connection.release()
    broker.turns()
    assert read(broker)
    assert broker.counters.messages_received == 1
    assert channel.bodies(queue) == [b"body"]


def test_who_fills_the_buffer_rests_until_the_turn_ends_and_is_read_on(
    client: SocketClient, broker: SocketBroker
) -> None:
    client.open()
    heartbeats = frame(constants.FRAME_HEARTBEAT, 0, b"") * (3 * broker.read_buffer.size_bytes // 8)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(heartbeats))
    received = broker.counters.bytes_received
    sent = client.socket.send(heartbeats)
    assert sent > broker.read_buffer.size_bytes
    assert read(broker)
    assert broker.counters.bytes_received - received == broker.read_buffer.size_bytes
    while read(broker):
        pass
    assert broker.counters.bytes_received - received == sent


def test_a_client_that_goes_is_noticed_once(client: SocketClient, broker: SocketBroker) -> None:
    client.start()
    client.socket.shutdown(socket.SHUT_WR)
    assert read(broker)
    assert client.transport.closed
    assert not client.transport.aborted
    assert not is_readable(broker)


def test_nobody_waits_for_a_client_that_ends_and_does_not_read(client: SocketClient, broker: SocketBroker) -> None:
    channel_of(client)
    client.connection.pause_writing()
    client.socket.shutdown(socket.SHUT_WR)
    assert read(broker)
    assert client.transport.aborted
    assert not is_readable(broker)


def test_a_connection_that_cannot_be_read_on_is_aborted(client: SocketClient, broker: SocketBroker) -> None:
    channel = channel_of(client)
    client.connection.hold()
    publish_later(channel, "q")
    assert read(broker)
    client.transport.own.close()
    client.connection.release()
    with pytest.raises(OSError, match="Bad file descriptor"):
        broker.turns()
    assert client.transport.aborted


def test_a_connection_that_breaks_is_aborted(client: SocketClient, broker: SocketBroker) -> None:
    client.start()
    client.log_in()
    # With connection.tune unread, that is a reset.
    client.socket.close()
    assert read(broker)
    assert client.transport.aborted
    assert not is_readable(broker)


def test_nothing_is_read_once_the_broker_has_closed_a_connection(client: SocketClient, broker: SocketBroker) -> None:
    client.open()
    client.send(ConnectionClass.Close(200, "", 0, 0))
    assert client.transport.closed
    received = broker.counters.bytes_received
    client.socket.sendall(b"more")
    read(broker)
    assert not is_readable(broker)
    assert broker.counters.bytes_received == received


def test_the_descriptor_of_a_lost_connection_can_be_that_of_another(
    client: SocketClient, clients: list[SocketClient], broker: SocketBroker
) -> None:
    client.start()
    client.socket.sendall(b"unread")
    descriptor = client.transport.own.fileno()
    client.cut()
    assert not is_readable(broker)
    clients.append(SocketClient(broker))
    own = clients[-1].transport.own
    if own.fileno() != descriptor:
        os.dup2(own.fileno(), descriptor)
    assert channel_of(clients[-1]).declare_queue("q") == "q"


def test_one_that_is_lost_while_others_are_read_from_is_read_from_no_more(
    clients: list[SocketClient], broker: SocketBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients += [SocketClient(broker) for _ in range(2)]
    for client in clients:
        client.send_bytes(PROTOCOL_HEADER[:4])
    lost: list[SocketClient] = []

    class LosingHandshake(connection_module.Handshake):
        def __init__(self, connection: Any) -> None:
            super().__init__(connection)
            (other,) = (client for client in clients if client.connection is not connection)
            other.connection.connection_lost(None)
            lost.append(other)

    monkeypatch.setattr(connection_module, "Handshake", LosingHandshake)
    for client in clients:
        client.socket.sendall(PROTOCOL_HEADER[4:])
    assert read(broker)
    assert len(lost) == 1
    assert not is_readable(broker)


def test_a_mistake_costs_one_connection_and_no_other(
    clients: list[SocketClient], broker: SocketBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients += [SocketClient(broker) for _ in range(2)]
    broken, sound = clients
    sound.open()
    broken.send_bytes(PROTOCOL_HEADER[:4])
    monkeypatch.setattr(connection_module, "Handshake", None)
    broken.socket.sendall(PROTOCOL_HEADER[4:])
    with pytest.raises(TypeError):
        read(broker)
    assert broken.transport.aborted
    monkeypatch.undo()
    assert sound.channel().declare_queue("q") == "q"


def test_all_have_their_turn_when_there_are_too_many_for_one(clients: list[SocketClient], broker: SocketBroker) -> None:
    clients += [SocketClient(broker) for _ in range(EVENTS_MAX + 10)]
    for client in clients:
        client.open()
    for client in clients:
        client.socket.sendall(frame(constants.FRAME_HEARTBEAT, 0, b""))
    received = broker.counters.bytes_received
    assert read(broker)
    assert broker.counters.bytes_received - received == EVENTS_MAX * 8
    assert read(broker)
    assert broker.counters.bytes_received - received == len(clients) * 8
    assert not is_readable(broker)


# Bodies that are larger than a read


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
    closed = client.expect(ConnectionClass.Close)
    assert (closed.reply_code, "{invalid_frame_end_marker,0}" in closed.reply_text) == (501, True)


def test_a_frame_that_is_larger_than_what_is_left_of_a_body_is_noticed(client: SocketClient) -> None:
    channel = channel_of(client)
    queue = channel.declare_queue()
    send(client, begun(queue, 50_000, 100_000))
    send(client, bytes(100_000) + bytes((constants.FRAME_END,)))
    closed = client.expect(ConnectionClass.Close)
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
