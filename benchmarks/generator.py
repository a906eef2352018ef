"""A load generator that is faster than the brokers: frames are encoded once, and counted instead of decoded.

One process publishes and one consumes. All deliveries of a run have the same size (delivery tags are eight octets), so
a count of octets is a count of messages.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from protocol.amqp.codec import decode_method, encode_method
from protocol.amqp.methods import (
    BasicConsume,
    BasicPublish,
    BasicQos,
    ChannelOpen,
    ConfirmSelect,
    ConnectionOpen,
    ConnectionStartOk,
    ConnectionTuneOk,
    Method,
    QueueDeclare,
    QueueDelete,
)
from protocol.amqp.properties import BasicProperties, encode_properties
from protocol.amqp.writer import OutputBuffer

QUEUE = "haypile-benchmark"
BLOCK_LENGTH = 500
READ_SIZE_BYTES = 1 << 18
FRAME_MAX_BYTES = 131_072
ACK_FRAME = struct.Struct(">BHIHHQBB")
BASIC_ACK = (60, 80)
LINGER_S = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: bodies of ``size_bytes``, confirmed with at most ``window`` in flight (0: no confirms)."""

    size_bytes: int
    durable: bool = False
    window: int = 0
    prefetch: int = 0
    ack_every: int = 0


class Client:
    """A blocking connection with one channel."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.receive()
        self.call(0, ConnectionStartOk(mechanism="PLAIN", response=b"\0guest\0guest", locale="en_US"))
        self.send(0, ConnectionTuneOk(channel_max=2047, frame_max=FRAME_MAX_BYTES, heartbeat=0))
        self.call(0, ConnectionOpen(virtual_host="/"))
        self.call(1, ChannelOpen())

    def send(self, channel: int, method: Method) -> None:
        """Send a method."""
        output = OutputBuffer()
        output.method(channel, encode_method(method))
        self.socket.sendall(output.take())

    def receive(self) -> Method:
        """Return the next method."""
        while True:
            if len(self.buffer) >= 7:
                size = struct.unpack_from(">I", self.buffer, 3)[0]
                if len(self.buffer) >= size + 8:
                    payload, self.buffer = self.buffer[7 : 7 + size], self.buffer[8 + size :]
                    return decode_method(payload)
            data = self.socket.recv(READ_SIZE_BYTES)
            if not data:
                raise ConnectionError("the broker closed the connection")
            self.buffer += data

    def call(self, channel: int, method: Method) -> Method:
        """Send a method and return the answer."""
        self.send(channel, method)
        return self.receive()


def _publish(port: int, load: Load, seconds: float, count: int, results: Any) -> None:
    client = Client(port)
    output = OutputBuffer()
    properties = BasicProperties(delivery_mode=2 if load.durable else 1)
    header = encode_properties(properties, load.size_bytes)
    method = encode_method(BasicPublish(routing_key=QUEUE))
    length = min(BLOCK_LENGTH, load.window // 2) if load.window else BLOCK_LENGTH
    for _ in range(length):
        output.content(1, method, header, bytes(load.size_bytes), FRAME_MAX_BYTES)
    block = output.take()
    if load.window:
        client.call(1, ConfirmSelect())
        client.socket.settimeout(10)
    published, confirmed, end = 0, 0, time.monotonic() + seconds
    while published < count if count else time.monotonic() < end:
        if load.window and published + length - confirmed > load.window:
            confirmed = highest_tag(client, confirmed)
            continue
        client.socket.sendall(block)
        published += length
    while load.window and confirmed < published:
        confirmed = highest_tag(client, confirmed)
    results.put(("published", published))


def highest_tag(client: Client, confirmed: int) -> int:
    """Read confirms, which are basic.ack and of the same size all; return the highest delivery tag.

    They may come out of order from a peer. Raises ``ConnectionError`` for anything else.
    """
    client.buffer += client.socket.recv(READ_SIZE_BYTES)
    whole = len(client.buffer) // ACK_FRAME.size * ACK_FRAME.size
    for fields in ACK_FRAME.iter_unpack(client.buffer[:whole]):
        if fields[3:5] != BASIC_ACK:
            raise ConnectionError(f"not a basic.ack: {fields}")
        confirmed = max(confirmed, fields[5])
    client.buffer = client.buffer[whole:]
    return confirmed


def _consume(port: int, load: Load, ready: Any, done: Any, results: Any) -> None:
    client = Client(port)
    if load.prefetch:
        client.call(1, BasicQos(prefetch_count=load.prefetch))
    client.call(1, BasicConsume(queue=QUEUE, consumer_tag="c", no_ack=not load.ack_every))
    # deliver with its tag, exchange and routing key; content header; body
    delivery_size = 7 + 4 + 2 + 8 + 1 + 1 + 1 + len(QUEUE) + 1 + 8 + 12 + 2 + 1 + 8 + load.size_bytes
    client.socket.setblocking(False)
    ready.set()
    octets, delivered, acked, last = len(client.buffer), 0, 0, time.monotonic()
    while not done.is_set() or time.monotonic() - last < LINGER_S:
        if not select.select([client.socket], [], [], 0.05)[0]:
            continue
        octets += len(client.socket.recv(READ_SIZE_BYTES))
        last = time.monotonic()
        delivered = octets // delivery_size
        due = delivered // load.ack_every * load.ack_every if load.ack_every else 0
        if due > acked:
            acked = due
            client.socket.setblocking(True)
            client.socket.sendall(ACK_FRAME.pack(1, 1, 13, *BASIC_ACK, acked, 1, 0xCE))
            client.socket.setblocking(False)
    results.put(("delivered", delivered))


def run(port: int, load: Load, seconds: float, count: int = 0) -> dict[str, float]:
    """Publish and consume for ``seconds``, or ``count`` messages, rounded up to whole blocks.

    Returns messages per second of both sides.
    """
    control = Client(port)
    control.call(1, QueueDelete(queue=QUEUE))
    control.call(1, QueueDeclare(queue=QUEUE, durable=load.durable))
    context = multiprocessing.get_context("spawn")
    results, ready, done = context.Queue(), context.Event(), context.Event()
    consumer = context.Process(target=_consume, args=(port, load, ready, done, results), daemon=True)
    publisher = context.Process(target=_publish, args=(port, load, seconds, count, results), daemon=True)
    consumer.start()
    ready.wait(30)
    publisher.start()
    publisher.join(seconds + 60)
    done.set()
    consumer.join(30)
    counts = dict(results.get(timeout=5) for _ in range(2))
    control.call(1, QueueDelete(queue=QUEUE))
    return {f"{name}_s": count / seconds for name, count in counts.items()}
