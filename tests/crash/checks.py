"""What is looked at after a kill: everything that is in the queues, without changing it."""

import struct
from collections.abc import Iterable

from pamqp.commands import Basic, Channel
from pamqp.commands import Queue as QueueMethods

from tests.crash.load import MARKER_QUEUE, PERSISTENT, number_of
from tests.support.raw_client import RawChannel, RawClient

DELIVER = struct.pack(">HH", 60, 60)
FRAME_OVERHEAD = 8
NUMBER_SIZE = 8


class DeliveryReader:
    """Reads the numbers of many deliveries quickly: each is a method, a header, and body frames of which one counts."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.numbers: list[int] = []
        self._expects_body = False

    def read(self, count: int) -> list[int]:
        """Read on until that many deliveries have begun."""
        client = self.client
        data = client._buffer
        while len(self.numbers) < count:
            at = 0
            while len(data) - at >= FRAME_OVERHEAD:
                kind, _, size = struct.unpack_from(">BHI", data, at)
                end = at + size + FRAME_OVERHEAD
                if end > len(data):
                    break
                if kind == 1:
                    assert data[at + 7 : at + 11] == DELIVER, data[at : at + 64]
                    self._expects_body = True
                elif kind == 3 and self._expects_body:
                    self.numbers.append(number_of(data[at + 7 : at + 7 + NUMBER_SIZE]))
                    self._expects_body = False
                at = end
            data = data[at:]
            if len(self.numbers) < count:
                received = client.receive_bytes()
                assert received, "the broker closed the connection"
                data += received
        client._buffer = data
        return self.numbers


def take_all(client: RawClient, queue: str, *, drain: bool) -> list[int]:
    """Read a queue on a channel of its own; what is not to be drained comes back when the channel closes."""
    channel = client.channel(2)
    count, _ = channel.counts(queue)
    numbers: list[int] = []
    if count:
        channel.consume(queue, tag="all")
        numbers = DeliveryReader(client).read(count)
        if drain:
            channel.send(Basic.Ack(delivery_tag=0, multiple=True))
    assert len(numbers) == count, f"{queue} has {count} messages and delivered {len(numbers)}"
    channel.close()
    return numbers


def make_sure(channel: RawChannel) -> None:
    """Bring on disk what has been settled: it is, when something that was published later is confirmed."""
    channel.publish(b"", MARKER_QUEUE, properties=PERSISTENT)
    channel.expect(Basic.Ack)
    channel.call(QueueMethods.Purge(queue=MARKER_QUEUE))


def existing(client: RawClient, names: Iterable[str]) -> set[str]:
    """Which of the queues exist."""
    found = set()
    for name in names:
        channel = client.channel(3)
        channel.send(QueueMethods.Declare(queue=name, passive=True))
        answer = channel.client.receive(3).method
        if isinstance(answer, QueueMethods.DeclareOk):
            found.add(name)
            channel.close()
        else:
            channel.send(Channel.CloseOk())
    return found


def routed(channel: RawChannel, name: str) -> bool:
    """Whether a message for that name finds its queue, by the binding that was made with it."""
    channel.publish(struct.pack(">Q", 0), name, "temporary", mandatory=True)
    answer = channel.client.receive(channel.number).method
    if isinstance(answer, Basic.Ack):
        return True
    channel.client.receive(channel.number)
    channel.client.receive(channel.number)
    channel.expect(Basic.Ack)
    return False
