"""Consuming: deliveries are counted by their octets, and not decoded.

All deliveries of a consumer have the same size (delivery tags have eight octets), so a count of octets is a count of
messages.
"""

from __future__ import annotations

import select
from collections.abc import Iterable

from benchmarks.client import CHANNEL, FRAME_MAX_BYTES, READ_SIZE_BYTES, Client
from benchmarks.publishing import ACK_FRAME, BASIC_ACK, PERSISTENT, TRANSIENT
from protocol.amqp.codec import encode_method
from protocol.amqp.methods import BasicConsume, BasicDeliver, BasicQos
from protocol.amqp.properties import BasicProperties, encode_properties
from protocol.amqp.writer import OutputBuffer

TAG = "c"


def delivery_size(exchange: str, routing_key: str, body_size: int, persistent: bool) -> int:
    """Return how many octets a delivery has."""
    output = OutputBuffer()
    header = encode_properties(BasicProperties(delivery_mode=PERSISTENT if persistent else TRANSIENT), body_size)
    method = BasicDeliver(consumer_tag=TAG, delivery_tag=1, exchange=exchange, routing_key=routing_key)
    output.content(CHANNEL, encode_method(method), header, bytes(body_size), FRAME_MAX_BYTES)
    return output.size_bytes


def acknowledgements(first: int, last: int, step: int) -> bytes:
    """Return a basic.ack for each ``step`` messages, with all before them."""
    return b"".join(
        [ACK_FRAME.pack(1, CHANNEL, 13, *BASIC_ACK, tag, 1, 0xCE) for tag in range(first + step - 1, last + 1, step)]
    )


class Consumer:
    """A connection that counts what a queue delivers. It acknowledges every ``ack_every`` messages (0: automatic)."""

    def __init__(self, client: Client, queue: str, size_bytes: int, prefetch: int = 0, ack_every: int = 0) -> None:
        self.socket = client.socket
        self._client = client
        self._queue, self._size_bytes, self._prefetch, self._ack_every = queue, size_bytes, prefetch, ack_every
        self._view = memoryview(bytearray(READ_SIZE_BYTES))
        self._octets = self._acknowledged = 0

    def start(self) -> None:
        """Consume, from now on."""
        if self._prefetch:
            self._client.call(CHANNEL, BasicQos(prefetch_count=self._prefetch))
        self._client.call(CHANNEL, BasicConsume(queue=self._queue, consumer_tag=TAG, no_ack=not self._ack_every))
        self.socket.settimeout(None)
        # What came right behind the answer.
        octets, self._client.buffer = len(self._client.buffer), b""
        self._count(octets)

    @property
    def delivered(self) -> int:
        """How many messages were delivered."""
        return self._octets // self._size_bytes

    @property
    def whole(self) -> bool:
        """Whether there is no part of a delivery at the end: otherwise it was something else that came."""
        return self._octets % self._size_bytes == 0

    def read(self) -> None:
        """Take in what has come, and acknowledge what is due."""
        count = self.socket.recv_into(self._view)
        if not count:
            raise ConnectionError("the broker closed the connection")
        self._count(count)

    def acknowledge(self) -> None:
        """Acknowledge all that was delivered."""
        if self._ack_every and self.delivered > self._acknowledged:
            self._acknowledged = self.delivered
            self.socket.sendall(acknowledgements(self._acknowledged, self._acknowledged, 1))

    def _count(self, octets: int) -> None:
        self._octets += octets
        if self._ack_every and (due := self.delivered) >= self._acknowledged + self._ack_every:
            self.socket.sendall(acknowledgements(self._acknowledged + 1, due, self._ack_every))
            self._acknowledged = due // self._ack_every * self._ack_every


class Consumers:
    """Connections that consume at the same time."""

    def __init__(self, consumers: Iterable[Consumer]) -> None:
        self._by_descriptor = {consumer.socket.fileno(): consumer for consumer in consumers}
        self._poll = select.poll()
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.POLLIN)

    def start(self) -> None:
        """Consume, from now on."""
        for consumer in self._by_descriptor.values():
            consumer.start()

    @property
    def delivered(self) -> int:
        """How many messages were delivered."""
        return sum(consumer.delivered for consumer in self._by_descriptor.values())

    def step(self, timeout_s: float) -> bool:
        """Wait until something comes, and take it in. Returns whether anything came."""
        ready = self._poll.poll(timeout_s * 1000)
        for descriptor, _ in ready:
            self._by_descriptor[descriptor].read()
        return bool(ready)

    def close(self, complete: bool) -> None:
        """End all connections.

        Raises ``ConnectionError`` where all has come, but cannot have been deliveries only.
        """
        for consumer in self._by_descriptor.values():
            consumer.socket.close()
        if complete and not all(consumer.whole for consumer in self._by_descriptor.values()):
            raise ConnectionError("what came was not only deliveries of the expected size")
