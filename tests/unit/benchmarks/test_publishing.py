"""Publishing within a window."""

import socket
from collections.abc import Iterator

import pytest

from benchmarks.publishing import (
    ACK_FRAME,
    BASIC_ACK,
    BLOCK_BYTES,
    Block,
    Confirms,
    Publisher,
    Publishers,
    block_of,
)
from protocol.amqp.methods import Method


class Link:
    """A client that says yes, and the other end of its connection."""

    def __init__(self) -> None:
        self.socket, self.broker = socket.socketpair()
        self.buffer = b""

    def call(self, channel: int, method: Method) -> Method:
        """Take any request."""
        assert channel == 1
        return method


@pytest.fixture
def link() -> Iterator[Link]:
    link = Link()
    yield link
    link.socket.close()
    link.broker.close()


def ack(tag: int, multiple: bool = False) -> bytes:
    return ACK_FRAME.pack(1, 1, 13, *BASIC_ACK, tag, multiple, 0xCE)


def publisher(link: Link, length: int, window: int, batch_length: int = 1) -> Publisher:
    block = Block()
    for number in range(length):
        block.add("", "q" * (1 + number), b"body", False)
    return Publisher(link, block, window, batch_length)  # type: ignore[arg-type]


def test_confirms_in_order_and_many_in_one() -> None:
    confirms = Confirms()
    assert confirms.take(ack(1) + ack(2) + ack(7, multiple=True)) == b""
    assert confirms.count == 7


def test_confirms_out_of_order_are_counted_once() -> None:
    confirms = Confirms()
    confirms.take(ack(3) + ack(5) + ack(1))
    assert confirms.count == 3
    confirms.take(ack(4, multiple=True))
    assert confirms.count == 5
    confirms.take(ack(6))
    assert confirms.count == 6


def test_a_part_of_a_confirm_waits_for_the_rest() -> None:
    confirms = Confirms()
    rest = confirms.take(ack(1) + ack(2)[:8])
    assert confirms.count == 1
    assert confirms.take(rest + ack(2)[8:]) == b""
    assert confirms.count == 2


def test_anything_but_a_confirm_is_an_error() -> None:
    with pytest.raises(ConnectionError, match=r"not method 60\.120"):
        Confirms().take(ACK_FRAME.pack(1, 1, 13, 60, 120, 1, 0, 0xCE))


def test_no_more_than_the_window_is_in_flight(link: Link) -> None:
    publishing = Publishers([one := publisher(link, length=4, window=10)])
    while one.publish(1000):
        pass
    assert (one.published, one.confirmed) == (10, 0)
    assert not publishing.step(0)
    link.broker.sendall(ack(3, multiple=True))
    assert publishing.step(10)
    while one.publish(1000):
        pass
    assert (one.published, one.confirmed) == (13, 3)
    link.broker.sendall(ack(13, multiple=True))
    while not publishing.settled:
        assert publishing.step(10, 0)
    assert publishing.published == publishing.confirmed == 13


def test_what_is_sent_goes_round_the_block(link: Link) -> None:
    one = publisher(link, length=3, window=0)
    while one.published < 7:
        one.publish(7 - one.published)
    ends = one._offsets
    assert len(link.broker.recv(1 << 16)) == 2 * ends[3] + ends[1]


def test_a_batch_waits_until_there_is_room_for_all_of_it(link: Link) -> None:
    publishing = Publishers([one := publisher(link, length=10, window=10, batch_length=5)])
    assert one.publish(1000)
    link.broker.sendall(ack(4, multiple=True))
    assert publishing.step(10)
    assert not one.publish(1000)
    link.broker.sendall(ack(5))
    assert publishing.step(10)
    assert one.publish(1000)
    assert one.published == 15


def test_a_full_socket_is_no_message_lost(link: Link) -> None:
    publishing = Publishers([one := publisher(link, length=50, window=0)])
    while publishing.step(0):
        pass
    assert not publishing.settled
    received = 0
    while not publishing.settled:
        received += len(link.broker.recv(1 << 20))
        publishing.step(0, 0)
    link.broker.setblocking(False)
    while True:
        try:
            received += len(link.broker.recv(1 << 20))
        except BlockingIOError:
            break
    whole, rest = divmod(one.published, 50)
    assert rest == 0
    assert received == whole * len(one._octets)


def test_a_block_has_each_routing_key_as_often() -> None:
    block = block_of("x", [f"rk.{number:04}" for number in range(300)], 16, False)
    assert len(block) % 300 == 0
    assert len(block_of("", ["q"], 16, False)) > 500
    assert block_of("", ["q"], 16, False).offsets[-1] <= BLOCK_BYTES
    assert len(block_of("", ["q"], 1 << 20, False)) == 1
