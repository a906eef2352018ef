"""Messages at a steady rate, and how long each takes from its publisher to its consumer."""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.client import ANSWER_SIZE_BYTES, CHANNEL, Client
from benchmarks.consuming import TAG, acknowledgements, delivery_size
from benchmarks.latencies import percentiles_us
from benchmarks.publishing import Confirms, block_of
from benchmarks.span import Span, measured
from benchmarks.topology import Load, Topology
from benchmarks.usage import Usage
from benchmarks.workers import Worker
from protocol.amqp.methods import BasicConsume, BasicQos, ConfirmSelect

STAMP = struct.Struct("<Q")
POLL_S = 0.05
LINGER_S = 15.0


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(ANSWER_SIZE_BYTES)
    if not data:
        raise ConnectionError("the broker closed the connection")
    return data


class _Publisher:
    """Publishes messages with the time in their bodies, with confirms."""

    def __init__(self, port: int, load: Load) -> None:
        client = Client(port)
        client.call(CHANNEL, ConfirmSelect())
        client.socket.settimeout(None)
        self.socket = client.socket
        self.published = 0
        self._window = load.window
        block = block_of("", load.routing_keys(0), load.size_bytes, load.durable)
        self._message = bytearray(block.octets()[: block.offsets[1]])
        self._stamp_at = len(self._message) - 1 - load.size_bytes
        self._confirms = Confirms()
        self._partial = b""

    def publish(self, due: int) -> None:
        """Publish until there are ``due`` messages, or the window is full."""
        while self.published < due and self.published - self._confirms.count < self._window:
            STAMP.pack_into(self._message, self._stamp_at, time.monotonic_ns())
            self.socket.sendall(self._message)
            self.published += 1

    def read(self) -> None:
        """Take in confirms."""
        self._partial = self._confirms.take(self._partial + _received(self.socket))


class _Consumer:
    """Consumes messages, acknowledges each of them, and keeps how long each took that was published in the span."""

    def __init__(self, port: int, load: Load) -> None:
        client = Client(port)
        client.call(CHANNEL, BasicQos(prefetch_count=load.prefetch))
        client.call(CHANNEL, BasicConsume(queue=load.queue_name(0), consumer_tag=TAG))
        client.socket.settimeout(None)
        self.socket = client.socket
        self.delivered = 0
        self.times_ns: list[int] = []
        self._buffer = client.buffer
        self._size = delivery_size("", load.routing_keys(0)[0], load.size_bytes, load.durable)
        self._stamp_at = self._size - 1 - load.size_bytes

    def read(self, span: Span) -> None:
        """Take in deliveries."""
        data = _received(self.socket)
        now_ns = time.monotonic_ns()
        self._buffer += data
        whole = len(self._buffer) // self._size
        if not whole:
            return
        for number in range(whole):
            stamp_ns = STAMP.unpack_from(self._buffer, number * self._size + self._stamp_at)[0]
            if span.counts_since(stamp_ns / 1e9):
                self.times_ns.append(now_ns - stamp_ns)
        self._buffer = self._buffer[whole * self._size :]
        self.socket.sendall(acknowledgements(self.delivered + 1, self.delivered + whole, 1))
        self.delivered += whole


def publish_and_consume(pipe: Any, port: int, load: Load, rate: float) -> tuple[float, float, float]:
    """Publish at a rate and consume; return messages in a second, and the percentiles of how long they took."""
    consumer, publisher = _Consumer(port, load), _Publisher(port, load)
    pipe.send("ready")
    span = Span(*pipe.recv())
    begin = now = time.monotonic()
    connections = [consumer.socket, publisher.socket]
    while not span.over(publisher.published):
        publisher.publish(int((now - begin) * rate) + 1)
        # Unlike poll, this waits for less than a millisecond if need be.
        wait = begin + publisher.published / rate - time.monotonic()
        ready = select.select(connections, [], [], min(max(wait, 0.0), POLL_S))[0]
        if consumer.socket in ready:
            consumer.read(span)
        if publisher.socket in ready:
            publisher.read()
        now = time.monotonic()
    end = now + LINGER_S
    while consumer.delivered < publisher.published and time.monotonic() < end:
        if select.select([consumer.socket], [], [], POLL_S)[0]:
            consumer.read(span)
    for connection in connections:
        connection.close()
    if consumer.delivered < publisher.published:
        raise ConnectionError(f"{consumer.delivered} of {publisher.published} messages were delivered")
    return (span.rates[0], *percentiles_us(consumer.times_ns))


@dataclass(frozen=True, slots=True)
class Steady:
    """How many messages there were in a second, and how long they took from publisher to consumer."""

    per_s: float
    p50_us: float
    p99_us: float
    usage: Usage


def steady(worker: Worker, port: int, pid: int, load: Load, rate: float, seconds: float, warmup_s: float) -> Steady:
    """Publish and consume at a rate."""
    with Topology(port, load):
        worker.start(publish_and_consume, port, load, rate)
        worker.receive()
        usage = measured([worker], pid, seconds, warmup_s)
        per_s, p50_us, p99_us = worker.receive()
    return Steady(per_s, p50_us, p99_us, usage)
