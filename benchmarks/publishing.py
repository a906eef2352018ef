"""Publishing: messages that are encoded once, sent again and again, within a window of those not confirmed yet."""

from __future__ import annotations

import select
import struct
from collections.abc import Iterable, Sequence

from benchmarks.client import ANSWER_SIZE_BYTES, CHANNEL, FRAME_MAX_BYTES, Client
from benchmarks.tls import WOULD_BLOCK
from protocol.amqp.codec import encode_method
from protocol.amqp.methods import BasicPublish, ConfirmSelect
from protocol.amqp.properties import BasicProperties, encode_properties
from protocol.amqp.writer import OutputBuffer

BLOCK_BYTES = 64 * 1024
ACK_FRAME = struct.Struct(">BHIHHQBB")
BASIC_ACK = (60, 80)
TRANSIENT, PERSISTENT = 1, 2
UNLIMITED = 1 << 62
CLOSE_TIMEOUT_S = 60.0


class Block:
    """Messages as they go over the wire, one after another, and where each of them begins."""

    def __init__(self) -> None:
        self._output = OutputBuffer()
        self.offsets = [0]

    def add(self, exchange: str, routing_key: str, body: bytes, persistent: bool) -> None:
        """Append a message."""
        header = encode_properties(BasicProperties(delivery_mode=PERSISTENT if persistent else TRANSIENT), len(body))
        method = encode_method(BasicPublish(exchange=exchange, routing_key=routing_key))
        self._output.content(CHANNEL, method, header, body, FRAME_MAX_BYTES)
        self.offsets.append(self._output.size_bytes)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def octets(self) -> bytes:
        """Return all messages."""
        return self._output.take()


def block_of(exchange: str, routing_keys: Sequence[str], size_bytes: int, persistent: bool) -> Block:
    """Return a block of about ``BLOCK_BYTES`` that goes round the routing keys, each as often as all others."""
    block, body = Block(), bytes(size_bytes)
    while not block or block.offsets[-1] * (1 + len(routing_keys) / len(block)) <= BLOCK_BYTES:
        for routing_key in routing_keys:
            block.add(exchange, routing_key, body, persistent)
    return block


class Confirms:
    """Counts confirms, which a broker may send out of order, or many in one."""

    def __init__(self) -> None:
        self._all_to = 0
        self._beyond: set[int] = set()

    @property
    def count(self) -> int:
        """How many messages were confirmed."""
        return self._all_to + len(self._beyond)

    def take(self, frames: bytes) -> bytes:
        """Take in what came, and return the part of a frame that is left.

        Raises ``ConnectionError`` for anything but basic.ack.
        """
        whole = len(frames) // ACK_FRAME.size * ACK_FRAME.size
        for _, _, _, class_id, method_id, tag, multiple, _ in ACK_FRAME.iter_unpack(frames[:whole]):
            if (class_id, method_id) != BASIC_ACK:
                raise ConnectionError(f"basic.ack was due, not method {class_id}.{method_id}")
            if multiple:
                self._all_to = max(self._all_to, tag)
                if self._beyond:
                    self._beyond = {other for other in self._beyond if other > tag}
            else:
                self._beyond.add(tag)
            while self._beyond and self._all_to + 1 in self._beyond:
                self._all_to += 1
                self._beyond.remove(self._all_to)
        return frames[whole:]


class Publisher:
    """A connection that publishes a block again and again, with at most ``window`` messages unconfirmed.

    A ``window`` of 0 is without confirms. It sends no fewer than ``batch_length`` messages at once.
    """

    def __init__(self, client: Client, block: Block, window: int = 0, batch_length: int = 1) -> None:
        if window:
            client.call(CHANNEL, ConfirmSelect())
        client.socket.setblocking(False)
        self.socket = client.socket
        self.published = 0
        self._client = client
        self._window = window
        self._batch_length = min(batch_length, window) if window else batch_length
        self._offsets, self._octets = block.offsets, memoryview(block.octets())
        self._next = 0
        self._rest = memoryview(b"")
        self._confirms = Confirms()
        self._partial = b""

    @property
    def confirmed(self) -> int:
        """How many messages were confirmed; without confirms, how many were sent."""
        return self._confirms.count if self._window else self.published

    @property
    def settled(self) -> bool:
        """Whether all that was begun was sent and confirmed."""
        return not self._rest and self.confirmed == self.published

    @property
    def events(self) -> int:
        """What this connection waits for when it cannot go on."""
        return select.POLLIN | select.POLLOUT if self._rest else select.POLLIN

    def publish(self, most: int) -> bool:
        """Send what window and socket have room for, from one round of the block, and ``most`` messages at most.

        Returns whether it may go on at once.
        """
        if not self._rest:
            length = len(self._offsets) - 1
            count = min(most, length - self._next)
            if self._window:
                room = self._window - self.published + self._confirms.count
                if room < min(self._batch_length, most):
                    return False
                count = min(count, room)
            if not count:
                return False
            last = self._next + count
            self._rest = self._octets[self._offsets[self._next] : self._offsets[last]]
            self._next = 0 if last == length else last
            self.published += count
        try:
            # With TLS it may be a record at a time.
            while self._rest:
                self._rest = self._rest[self.socket.send(self._rest) :]
        except WOULD_BLOCK:
            return False
        return True

    def read(self) -> None:
        """Take in confirms."""
        try:
            data = self.socket.recv(ANSWER_SIZE_BYTES)
        except WOULD_BLOCK:
            # With TLS it may be a part of a record that has come.
            return
        if not data:
            raise ConnectionError("the broker closed the connection")
        self._partial = self._confirms.take(self._partial + data)

    def close(self) -> None:
        """Close the connection, when the broker has read all that was sent."""
        self.socket.settimeout(CLOSE_TIMEOUT_S)
        self.socket.sendall(self._rest)
        self._client.buffer = self._partial
        self._client.close()


class Publishers:
    """Connections that publish at the same time."""

    def __init__(self, publishers: Iterable[Publisher]) -> None:
        self._publishers = list(publishers)
        self._by_descriptor = {publisher.socket.fileno(): publisher for publisher in self._publishers}
        self._events = dict.fromkeys(self._by_descriptor, select.POLLIN)
        self._poll = select.poll()
        for descriptor, events in self._events.items():
            self._poll.register(descriptor, events)

    @property
    def published(self) -> int:
        """How many messages were sent."""
        return sum(publisher.published for publisher in self._publishers)

    @property
    def confirmed(self) -> int:
        """How many messages were confirmed."""
        return sum(publisher.confirmed for publisher in self._publishers)

    @property
    def settled(self) -> bool:
        """Whether all that was begun was sent and confirmed."""
        return all(publisher.settled for publisher in self._publishers)

    def step(self, timeout_s: float, most: int = UNLIMITED) -> bool:
        """Publish what goes, ``most`` messages at most; where nothing goes, wait until something does.

        Returns whether it does.
        """
        goes_on = False
        for publisher in self._publishers:
            before = publisher.published
            goes_on |= publisher.publish(most)
            most -= publisher.published - before
        return goes_on or self._wait(timeout_s)

    def _wait(self, timeout_s: float) -> bool:
        for descriptor, publisher in self._by_descriptor.items():
            if self._events[descriptor] != publisher.events:
                self._events[descriptor] = publisher.events
                self._poll.modify(descriptor, publisher.events)
        ready = self._poll.poll(timeout_s * 1000)
        for descriptor, event in ready:
            if event & ~select.POLLOUT:
                self._by_descriptor[descriptor].read()
        return bool(ready)

    def close(self) -> None:
        """End all connections."""
        for publisher in self._publishers:
            publisher.close()
