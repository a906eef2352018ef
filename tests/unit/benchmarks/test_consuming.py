"""Counting deliveries."""

import socket

import pytest

from benchmarks.consuming import Consumer, Consumers, acknowledgements, delivery_size
from benchmarks.publishing import ACK_FRAME
from protocol.amqp.methods import Method


class Link:
    """A client that says yes, and the other end of its connection."""

    def __init__(self) -> None:
        self.socket, self.broker = socket.socketpair()
        self.buffer = b""
        self.asked: list[str] = []

    def call(self, channel: int, method: Method) -> Method:
        """Take any request."""
        assert channel == 1
        self.asked.append(method.name)
        return method


def tags(octets: bytes) -> list[int]:
    """What is acknowledged."""
    return [fields[5] for fields in ACK_FRAME.iter_unpack(octets)]


def test_a_delivery_has_a_frame_for_each_part() -> None:
    plain = delivery_size("", "q", 0, False)
    assert delivery_size("", "qq", 0, True) == plain + 1
    assert delivery_size("", "q", 100, False) == plain + 100 + 8
    # A body of more than a frame, whose eight octets count.
    assert delivery_size("", "q", 131_065, False) == plain + 131_065 + 16


def test_each_so_many_messages_are_acknowledged() -> None:
    assert tags(acknowledgements(1, 35, 10)) == [10, 20, 30]
    assert tags(acknowledgements(31, 40, 10)) == [40]
    assert tags(acknowledgements(31, 39, 10)) == []
    assert tags(acknowledgements(5, 7, 1)) == [5, 6, 7]


def test_deliveries_are_counted_by_octets_and_acknowledged() -> None:
    link = Link()
    link.buffer = bytes(150)
    consumer = Consumer(link, "q", 100, prefetch=50, ack_every=10)  # type: ignore[arg-type]
    consumers = Consumers([consumer])
    consumers.start()
    assert link.asked == ["basic.qos", "basic.consume"]
    assert consumers.delivered == 1
    assert link.buffer == b""
    link.broker.sendall(bytes(2_450))
    while consumers.delivered < 26:
        assert consumers.step(10)
    assert tags(link.broker.recv(1000)) == [10, 20]
    consumer.acknowledge()
    assert tags(link.broker.recv(1000)) == [26]
    consumers.close(True)
    link.broker.close()


def test_what_is_no_delivery_is_noticed() -> None:
    link = Link()
    link.buffer = bytes(150)
    consumers = Consumers([Consumer(link, "q", 100)])  # type: ignore[arg-type]
    consumers.start()
    with pytest.raises(ConnectionError, match="not only deliveries"):
        consumers.close(True)
    link.broker.close()
