"""Connections that come and stay, and connections that come and go."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from benchmarks.client import CHANNEL, FRAME_MAX_BYTES, Client, method_frame
from benchmarks.latencies import percentiles_us
from benchmarks.publishing import TRANSIENT
from benchmarks.span import Span
from protocol.amqp.codec import encode_method
from protocol.amqp.methods import (
    BasicGet,
    BasicGetOk,
    BasicPublish,
    ChannelClose,
    ChannelCloseOk,
    QueueDeclare,
    QueueDeclareOk,
)
from protocol.amqp.properties import BasicProperties, encode_properties
from protocol.amqp.writer import OutputBuffer

HEARTBEAT_S = 60
BODY = bytes(16)
DECLARE = method_frame(CHANNEL, QueueDeclare(exclusive=True))
CLOSE_CHANNEL = method_frame(CHANNEL, ChannelClose(reply_code=200, reply_text="bye"))


def connect(pipe: Any, port: int, count: int) -> tuple[float, float]:
    """Open so many connections with a channel, one after another, keep them until told, and close them.

    Returns how many were opened and closed in a second.
    """
    first = Client(port)
    pipe.send("ready")
    pipe.recv()
    begin = time.monotonic()
    clients = [Client(port, HEARTBEAT_S) for _ in range(count)]
    opened_s = count / (time.monotonic() - begin)
    pipe.send("opened")
    pipe.recv()
    begin = time.monotonic()
    for client in clients:
        client.close()
    closed_s = count / (time.monotonic() - begin)
    first.close()
    return opened_s, closed_s


@cache
def _publish_and_get(queue_length: int) -> bytes:
    queue = "?" * queue_length
    header = encode_properties(BasicProperties(delivery_mode=TRANSIENT), len(BODY))
    output = OutputBuffer()
    output.content(CHANNEL, encode_method(BasicPublish(routing_key=queue)), header, BODY, FRAME_MAX_BYTES)
    output.method(CHANNEL, encode_method(BasicGet(queue=queue, no_ack=True)))
    return output.take()


def _cycle(port: int) -> None:
    client = Client(port, HEARTBEAT_S)
    client.socket.sendall(DECLARE)
    # queue.declare-ok begins with the name of the queue, after its ids.
    declared = client.expect(QueueDeclareOk)
    length = declared[4]
    client.socket.sendall(_publish_and_get(length).replace(b"?" * length, declared[5 : 5 + length]))
    client.expect(BasicGetOk)
    client.frame()
    if client.frame()[1] != BODY:
        raise ConnectionError("what was published did not come back")
    client.socket.sendall(CLOSE_CHANNEL)
    client.expect(ChannelCloseOk)
    client.close()


def cycle_count(_pipe: Any, port: int, count: int) -> None:
    """Connect, declare an exclusive queue, publish, get and close so often."""
    for _ in range(count):
        _cycle(port)


def churn(pipe: Any, port: int) -> tuple[float, float]:
    """Connect, declare an exclusive queue, publish, get and close, again and again during a span.

    Returns how often in a second, and how long it took in microseconds (50th percentile).
    """
    pipe.send("ready")
    span = Span(*pipe.recv())
    times_ns: list[int] = []
    cycles = 0
    while not span.over(cycles):
        begin_ns = time.monotonic_ns()
        _cycle(port)
        times_ns.append(time.monotonic_ns() - begin_ns)
        cycles += 1
    return span.rates[0], percentiles_us(times_ns)[0]
